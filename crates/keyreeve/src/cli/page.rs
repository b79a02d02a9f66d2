//! Options of commands that list.

use clap::Args;

/// Which part of a list.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct PageArgs {
    /// At most so many, 1 to 1000; with --all, so many a request
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: Option<u32>,
    /// All there are, up to 100000
    #[arg(long)]
    pub(crate) all: bool,
    /// Go on after an earlier list: its `next_cursor` in JSON
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
}
