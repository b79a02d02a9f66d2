//! Keyreeve: looks after every API key and credential a team has.
//!
//! This file turns errors into exit codes and nothing else. The commands are in `cmd`, what can
//! be typed is in `cli`, what is printed is in `output`, and `wire` puts the server together.

mod catalogue;
mod cli;
mod cmd;
mod config;
mod connect;
mod context;
mod countries;
mod environment;
mod failure;
mod hidden_input;
mod installation;
mod offline;
mod output;
mod secret_files;
mod system;
mod usage;
mod wire;

use std::{alloc::System, process::ExitCode};

use clap::Parser as _;
use keyreeve_engine::Clock as _;
use zeroizing_alloc::ZeroAlloc;

use crate::{
    cli::Cli, cmd::Outcome, context::Context, environment::Environment, failure::Failure,
    output::Output, system::SystemClock,
};

/// Overwrites what is freed. Secrets of ours overwrite themselves; the buffers of libraries that they
/// pass through, such as those of connections, do not.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Could not run.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            return usage::report(&error, arguments);
        }
    };
    let now = SystemClock::new().now();
    let output = Output::new(global.format, global.colour, now);
    let context = Context { global, environment: Environment::of_process(), output, now };
    let outcome = cmd::run(&command, &context);
    if let Err(error) = &outcome {
        context.output.failure(&Failure::of(error));
    }
    ExitCode::from(exit_code(&outcome))
}

fn exit_code(outcome: &anyhow::Result<Outcome>) -> u8 {
    match outcome {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Negative) => 1,
        Ok(Outcome::Exited(code)) => *code,
        Err(_) => COULD_NOT_RUN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_three() {
        assert_eq!(exit_code(&Ok(Outcome::Done)), 0);
        assert_eq!(exit_code(&Ok(Outcome::Negative)), 1);
        assert_eq!(exit_code(&Err(anyhow::anyhow!("no"))), 2);
    }
}
