//! `keyreeve completions`.

use clap::CommandFactory as _;

use super::Outcome;
use crate::{
    cli::{Cli, local::CompletionsArgs},
    context::Context,
};

pub(super) fn run(args: &CompletionsArgs, context: &Context) -> anyhow::Result<Outcome> {
    context.output.bytes(&script(args))?;
    Ok(Outcome::Done)
}

/// The generator takes a writer but cannot tell of an error, so it writes into memory.
fn script(args: &CompletionsArgs) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "keyreeve", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_gets_a_script() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(&CompletionsArgs { shell: *shell })).unwrap();
            assert!(script.contains("finish-rotation"), "{shell}");
        }
    }
}
