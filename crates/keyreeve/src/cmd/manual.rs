//! `keyreeve manual`.

use std::fs;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use super::Outcome;
use crate::{
    cli::{Cli, local::ManualArgs},
    config::DEFAULTS,
    context::Context,
};

pub(super) fn run(args: &ManualArgs, context: &Context) -> anyhow::Result<Outcome> {
    if args.settings {
        context.output.bytes(DEFAULTS.as_bytes())?;
        return Ok(Outcome::Done);
    }
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).context("cannot write the page")?;
        context.output.bytes(&page)?;
        return Ok(Outcome::Done);
    };
    let cannot = || format!("cannot write manual pages into {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(cannot)?;
    context.output.note(&format!("the manual pages are in {}", folder.display()))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
        for page in ["keyreeve.1", "keyreeve-key.1", "keyreeve-key-rotate.1"] {
            let text = fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains("Examples"), "{page}");
        }
    }
}
