//! Names that another store has.

use std::collections::BTreeSet;

use keyreeve_core::vault::{SecretPath, SecretPathPrefix};
use tracing::warn;

use super::{Backend, BackendError, BackendMode, read_through::behind};
use crate::{
    Engine,
    vault::{ListSecrets, Listing, VaultAccess, VaultError},
};

/// The most names that are taken from other stores for one listing.
const MOST_NAMES: usize = 100_000;
/// The most folders of other stores that are looked into for one listing.
const MOST_FOLDERS: usize = 10_000;

impl Engine {
    /// Adds to a page of names those that other stores have, as far as the asker may see them.
    pub(in crate::vault) async fn add_names_elsewhere(
        &self,
        access: &VaultAccess,
        folder: &SecretPathPrefix,
        list: ListSecrets<'_>,
        most: usize,
        listing: Listing,
    ) -> Result<Listing, VaultError> {
        let mut names = BTreeSet::new();
        for backend in &self.backends.all {
            let own = backend.options.folder.as_str();
            let deepest = if own.len() > folder.as_str().len() { own } else { folder.as_str() };
            // Whoever may see nothing there has nobody asked.
            if !access.sees_folder(deepest) {
                continue;
            }
            let is_near = own.starts_with(folder.as_str()) || folder.as_str().starts_with(own);
            if is_near && backend.is_read_through() && backend.options.project == *access.project()
            {
                self.names_of(access, backend, folder.as_str(), list.recursive, &mut names).await?;
            }
        }
        if names.is_empty() {
            return Ok(listing);
        }
        let Listing { names: here, mut more } = listing;
        let last = here.last().cloned().filter(|_| more);
        names.retain(|name| {
            let path = format!("{}{name}", folder.as_str());
            let seen = if name.ends_with('/') {
                access.sees_folder(&path)
            } else {
                // What is no path here cannot be read here.
                path.parse::<SecretPath>().is_ok() && access.sees(&path)
            };
            // Behind the end of this page stand those of the next.
            seen && list.after.is_none_or(|after| name.as_str() > after)
                && last.as_ref().is_none_or(|last| name <= last)
        });
        names.extend(here);
        more |= names.len() > most;
        Ok(Listing { names: names.into_iter().take(most).collect(), more })
    }

    /// Collects the names below a folder of ours, each relative to it.
    async fn names_of(
        &self,
        access: &VaultAccess,
        backend: &Backend,
        folder: &str,
        recursive: bool,
        names: &mut BTreeSet<String>,
    ) -> Result<(), VaultError> {
        let own = backend.options.folder.as_str();
        // The way from the folder down to the store's own.
        let way = own.strip_prefix(folder).unwrap_or_default();
        if !way.is_empty() && !recursive {
            let first = way.split_inclusive('/').next().unwrap_or(way);
            names.insert(first.to_owned());
            return Ok(());
        }
        let _waiting = self.backends.one_more()?;
        let mut folders = vec![String::new()];
        let mut looked = 0;
        while let Some(below) = folders.pop() {
            looked += 1;
            if looked > MOST_FOLDERS || names.len() > MOST_NAMES {
                let why = "has too many names to list them all".to_owned();
                return Err(behind(backend, BackendError::Answer(why)));
            }
            let start = if way.is_empty() { folder } else { own };
            let remote = backend.remote_path(&format!("{start}{below}"));
            let found = self.ask_names(backend, &remote).await;
            let found = match found {
                Ok(found) => found,
                Err(error @ BackendError::Unreachable(_)) if allows_stale(backend) => {
                    warn!(backend = backend.name(), %error, "only names of copies are listed");
                    return Ok(());
                }
                Err(error) => return Err(behind(backend, error)),
            };
            for name in found {
                if recursive && name.ends_with('/') {
                    let name = format!("{below}{name}");
                    if access.sees_folder(&format!("{start}{name}")) {
                        folders.push(name);
                    }
                } else {
                    names.insert(format!("{way}{below}{name}"));
                }
            }
        }
        Ok(())
    }

    /// Asks for the names in a folder, unless the store was just found to be away.
    async fn ask_names(
        &self,
        backend: &Backend,
        folder: &str,
    ) -> Result<Vec<String>, BackendError> {
        if let Some(why) = backend.reach.pausing(self.clock.monotonic_ns()) {
            return Err(BackendError::Unreachable(why));
        }
        let found = backend.remote().list(folder).await;
        self.note_reach(backend, &found);
        found
    }
}

fn allows_stale(backend: &Backend) -> bool {
    matches!(backend.options.mode, BackendMode::ReadThrough { stale, .. } if stale.is_positive())
}
