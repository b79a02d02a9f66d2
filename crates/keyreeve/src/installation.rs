//! One installation on this machine: its data folder, its audit key, its anchor.

mod anchor;
mod audit_key;
mod folder;
mod root_key;

pub(crate) use anchor::Anchor;
pub(crate) use folder::{DataFolder, FolderLock, write_whole};
