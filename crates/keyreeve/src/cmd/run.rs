//! `keyreeve run`: a program with secrets in its environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    pin::pin,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use keyreeve_api::{Client, SecretVersionView};
use keyreeve_engine::Clock as _;
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
use crate::{cli::run::RunArgs, context::Context, offline::Fallback, system::SystemClock};

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
    let fallback = chosen.fallback(context);
    let variables = fallback.ask(chosen.read(&client)).await?;
    let Some(on_change) = on_change else {
        // In our place: signals and the exit code are the program's own.
        let error = command(args, &variables)?.exec();
        return Err(anyhow::Error::new(error)).with_context(|| cannot_start(args));
    };
    let watched = Watched { args, chosen, client, fallback, on_change };
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
    fallback: Fallback<'a>,
    on_change: OnChange,
}

/// The versions that are current, by path.
type Versions = BTreeMap<String, u64>;

/// What a look at the secrets found.
enum Look {
    Same,
    /// Others are current, and this is the program with them.
    Changed(Versions, Box<Command>),
}

impl Watched<'_> {
    async fn run(&self, variables: Variables, context: &Context) -> anyhow::Result<Outcome> {
        let mut signals = signals()?;
        let mut child = self.start(command(self.args, &variables)?)?;
        // What was read, or what is there if that cannot be told apart: without fields, nothing was read.
        let mut known: Versions =
            variables.into_values().map(|variable| (variable.path, variable.version)).collect();
        known.extend(self.without_fields(&known).await.unwrap_or_default());
        loop {
            let found = {
                let mut look = pin!(self.look_later(&known));
                loop {
                    tokio::select! {
                        status = child.wait() => return Ok(outcome(status?)),
                        // However long the server takes, signals pass at once.
                        Some(signal) = signals.recv() => send(&child, signal),
                        found = &mut look => break found,
                    }
                }
            };
            let (versions, command) = match found {
                Ok(Look::Same) => continue,
                Ok(Look::Changed(versions, command)) => (versions, *command),
                // The program goes on with what it has.
                Err(error) => {
                    self.fallback.learn(&error);
                    context.output.note(&format!("secrets could not be looked at: {error:#}"))?;
                    continue;
                }
            };
            known = versions;
            match self.on_change {
                OnChange::Send(signal) => send(&child, signal),
                OnChange::Restart => {
                    context.output.note("a secret has a new version: restarting")?;
                    end(&mut child).await?;
                    child = self.start(command)?;
                }
            }
        }
    }

    fn start(&self, command: Command) -> anyhow::Result<Child> {
        tokio::process::Command::from(command).spawn().with_context(|| cannot_start(self.args))
    }

    /// Waits, then looks whether there is another version of any secret, or another secret. Values are
    /// read only if there is.
    async fn look_later(&self, known: &Versions) -> anyhow::Result<Look> {
        time::sleep(Duration::from_secs(self.args.interval)).await;
        let versions = self.versions().await?;
        if versions == *known {
            return Ok(Look::Same);
        }
        let variables = self.fallback.ask_server(self.chosen.read(&self.client)).await?;
        if self.versions().await? != versions {
            // What was read is neither the one nor the other: the next look tells.
            return Ok(Look::Same);
        }
        // Now, while the old program still runs: it goes on if the new one cannot be.
        let command = command(self.args, &variables)?;
        Ok(Look::Changed(versions, Box::new(command)))
    }

    /// Secrets that gave no variable.
    async fn without_fields(&self, known: &Versions) -> anyhow::Result<Versions> {
        let mut versions = self.versions().await?;
        versions.retain(|path, _| !known.contains_key(path));
        Ok(versions)
    }

    async fn versions(&self) -> anyhow::Result<Versions> {
        let mut versions = Versions::new();
        for path in self.chosen.paths(&self.client).await? {
            let known = self.client.secret_metadata(path.as_str()).await?;
            let Some(known) = known else { continue };
            let current = known.versions.get(&known.current_version.to_string());
            if current.is_some_and(|it| !it.destroyed && !has_ended(it)) {
                versions.insert(path.to_string(), known.current_version);
            }
        }
        Ok(versions)
    }
}

/// Whether a version's end, which may lie ahead, has come.
fn has_ended(version: &SecretVersionView) -> bool {
    let end = version.deletion_time.parse::<Timestamp>();
    !version.deletion_time.is_empty() && end.is_ok_and(|end| end <= SystemClock::new().now())
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
