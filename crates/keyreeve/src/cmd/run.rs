//! `keyreeve run`: a program with secrets in its environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, bail};
use keyreeve_api::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time,
};

use super::{
    Outcome,
    secret::variables::{Chosen, Variables},
};
use crate::{cli::run::RunArgs, context::Context};

/// How long a program has to end before it is killed, when it is to be restarted.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a program is told with `--clean` of what is set already.
const USUAL: &[&str] = &["PATH", "HOME", "USER", "LANG", "TERM", "TZ"];
/// Signals that pass to the program.
const PASSED: &[(SignalKind, Signal)] = &[
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
    (SignalKind::window_change(), Signal::WINCH),
];

/// What is done when a secret gets a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnChange {
    Restart,
    Send(Signal),
}

impl OnChange {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let name = text.to_ascii_uppercase();
        Ok(match name.strip_prefix("SIG").unwrap_or(&name) {
            "RESTART" => Self::Restart,
            "HUP" => Self::Send(Signal::HUP),
            "INT" => Self::Send(Signal::INT),
            "TERM" => Self::Send(Signal::TERM),
            "USR1" => Self::Send(Signal::USR1),
            "USR2" => Self::Send(Signal::USR2),
            _ => bail!("--watch must be restart, SIGHUP, SIGINT, SIGTERM, SIGUSR1 or SIGUSR2"),
        })
    }
}

pub(super) async fn run(args: &RunArgs, context: &Context) -> anyhow::Result<Outcome> {
    let on_change = args.watch.as_deref().map(OnChange::parse).transpose()?;
    let client = context.client()?;
    let chosen = Chosen { environment: args.environment.clone(), paths: args.paths.clone() };
    let variables = chosen.read(&client).await?;
    let Some(on_change) = on_change else {
        // In our place: signals and the exit code are the program's own.
        let error = command(args, &variables)?.exec();
        return Err(anyhow::Error::new(error)).with_context(|| cannot_start(args));
    };
    let watched = Watched { args, chosen, client, on_change };
    watched.run(variables, context).await
}

fn cannot_start(args: &RunArgs) -> String {
    let program = args.program.first().map(|it| it.to_string_lossy().into_owned());
    format!("cannot start {}", program.unwrap_or_default())
}

/// The program with its environment, in which our own key has no place.
fn command(args: &RunArgs, variables: &Variables) -> anyhow::Result<Command> {
    let (program, rest) = args.program.split_first().context("name a program after --")?;
    let mut command = Command::new(program);
    command.args(rest);
    if args.clean {
        let usual: Vec<(&str, OsString)> =
            USUAL.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect();
        command.env_clear().envs(usual);
    }
    command.env_remove("KEYREEVE_TOKEN");
    for (name, variable) in variables {
        // EXPOSE: given to the program, and only to it.
        let value = variable.value.expose();
        if value.contains('\0') {
            bail!("{name} holds a NUL, which no variable can");
        }
        command.env(name, value);
    }
    Ok(command)
}

/// A program that is told of new versions.
struct Watched<'a> {
    args: &'a RunArgs,
    chosen: Chosen,
    client: Client,
    on_change: OnChange,
}

impl Watched<'_> {
    async fn run(&self, mut variables: Variables, context: &Context) -> anyhow::Result<Outcome> {
        let mut signals = signals()?;
        let mut child = self.start(&variables)?;
        let mut timer = time::interval(Duration::from_secs(self.args.interval));
        timer.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        timer.reset();
        loop {
            tokio::select! {
                status = child.wait() => return Ok(outcome(status?)),
                Some(signal) = signals.recv() => send(&child, signal),
                _ = timer.tick() => {
                    if !self.has_changed(&variables, context).await? {
                        continue;
                    }
                    match self.chosen.read(&self.client).await {
                        Ok(new) => variables = new,
                        // The program goes on with what it has.
                        Err(error) => {
                            context.output.note(&format!("secrets could not be read: {error:#}"))?;
                            continue;
                        }
                    }
                    match self.on_change {
                        OnChange::Send(signal) => send(&child, signal),
                        OnChange::Restart => {
                            context.output.note("a secret has a new version: restarting")?;
                            end(&mut child).await?;
                            child = self.start(&variables)?;
                        }
                    }
                }
            }
        }
    }

    fn start(&self, variables: &Variables) -> anyhow::Result<Child> {
        let command = command(self.args, variables)?;
        tokio::process::Command::from(command).spawn().with_context(|| cannot_start(self.args))
    }

    /// Whether there is another version of any secret, or another secret. Values are not read for it.
    async fn has_changed(&self, known: &Variables, context: &Context) -> anyhow::Result<bool> {
        match self.versions().await {
            Ok(now) => {
                let before = known.values().map(|it| (it.path.clone(), it.version)).collect();
                Ok(now != before)
            }
            Err(error) => {
                context.output.note(&format!("secrets could not be looked at: {error:#}"))?;
                Ok(false)
            }
        }
    }

    async fn versions(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut versions = BTreeMap::new();
        for path in self.chosen.paths(&self.client).await? {
            let known = self.client.secret_metadata(path.as_str()).await?;
            let Some(known) = known else { continue };
            let current = known.versions.get(&known.current_version.to_string());
            if current.is_some_and(|it| !it.destroyed && it.deletion_time.is_empty()) {
                versions.insert(path.to_string(), known.current_version);
            }
        }
        Ok(versions)
    }
}

/// Signals to this process, to be passed on.
fn signals() -> anyhow::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(16);
    for (kind, passed) in PASSED {
        let mut stream = signal(*kind).context("signals cannot be passed")?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() && sender.send(*passed).await.is_ok() {}
        });
    }
    Ok(receiver)
}

/// A program that has ended meanwhile needs no signal.
fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

async fn end(child: &mut Child) -> anyhow::Result<()> {
    send(child, Signal::TERM);
    if time::timeout(PATIENCE, child.wait()).await.is_err() {
        child.kill().await.context("cannot end the program")?;
    }
    Ok(())
}

/// The program's own exit code; 128 and the signal's number where it was ended by one, as shells say it.
fn outcome(status: ExitStatus) -> Outcome {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Outcome::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}
