//! Which secrets there are, as far as the asker may see them.

use std::ops::Bound;

use keyreeve_core::{
    audit::Outcome,
    vault::{Capability, SecretPathPrefix},
};
use serde_json::json;

use super::{VaultAccess, VaultError};
use crate::{Engine, store::RecordKind};

/// The most names of one listing.
const MOST_NAMES: usize = 100_000;
/// Secrets that are looked at with the lock held.
const STEP: usize = 1_000;

/// Names, and whether there are more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Names below the folder: of secrets, and of folders with a slash at their end. In a recursive
    /// listing the whole rest of each path.
    pub names: Vec<String>,
    /// Whether there is more after the last.
    pub more: bool,
}

/// How to list.
#[derive(Clone, Copy, Debug)]
pub struct ListSecrets<'a> {
    /// Whether all folders below are listed, too.
    pub recursive: bool,
    /// The name to go on after.
    pub after: Option<&'a str>,
    /// The most names.
    pub limit: Option<usize>,
}

impl Engine {
    /// Lists a folder. Names that the asker may do nothing with are left out.
    pub async fn list_secrets(
        &self,
        access: &VaultAccess,
        folder: &SecretPathPrefix,
        list: ListSecrets<'_>,
    ) -> Result<Listing, VaultError> {
        self.keyring()?;
        let capability = if list.recursive { Capability::Scan } else { Capability::List };
        let here = access.capabilities(folder.as_str());
        // Whoever may see something below may see the way to it.
        let granted = !here.has(Capability::Deny)
            && (here.allow(capability) || access.sees_folder(folder.as_str()));
        if !granted {
            return Err(self.refuse_path(access, capability, folder.as_str()).await);
        }
        let listing = self.names(access, folder, list).await;
        let most = list.limit.unwrap_or(MOST_NAMES).clamp(1, MOST_NAMES);
        let listing = self.add_names_elsewhere(access, folder, list, most, listing).await?;
        let mut entry = access.entry(self, "secret.list", folder.as_str(), Outcome::Done);
        entry.details.insert("names".to_owned(), json!(listing.names.len()));
        self.begin(access.project()).commit(entry).await?;
        Ok(listing)
    }

    async fn names(
        &self,
        access: &VaultAccess,
        folder: &SecretPathPrefix,
        list: ListSecrets<'_>,
    ) -> Listing {
        let prefix = folder.as_str();
        let most = list.limit.unwrap_or(MOST_NAMES).clamp(1, MOST_NAMES);
        let mut names: Vec<String> = Vec::new();
        // Behind everything in a folder that was the last name of the page before.
        let mut from = list.after.map(|after| beyond(prefix, after));
        loop {
            let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let records = &self.vault.records;
            let found =
                records.beginning_with(access.project(), RecordKind::Secret, prefix, bound, STEP);
            let Some(last) = found.last() else { return Listing { names, more: false } };
            from = Some(last.record.id.to_string());
            for known in &found {
                let path = &*known.record.id;
                let rest = path.get(prefix.len()..).unwrap_or_default();
                let (name, seen) = match rest.split_once('/') {
                    Some((folder, _)) if !list.recursive => {
                        let folder = format!("{folder}/");
                        let seen = access.sees_folder(&format!("{prefix}{folder}"));
                        (folder, seen)
                    }
                    _ => (rest.to_owned(), access.sees(path)),
                };
                let is_folder = name.ends_with('/');
                if seen && names.len() == most {
                    return Listing { names, more: true };
                }
                if is_folder {
                    // Everything in it is one name.
                    from = Some(beyond(prefix, &name));
                }
                if seen {
                    names.push(name);
                }
                if is_folder {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A path behind that name and everything in it, if it is a folder.
fn beyond(prefix: &str, after: &str) -> String {
    match after.strip_suffix('/') {
        // U+10FFFF stands behind all else that can follow the slash.
        Some(folder) => format!("{prefix}{folder}/\u{10FFFF}"),
        None => format!("{prefix}{after}"),
    }
}
