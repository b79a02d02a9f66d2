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
const MOST_NAMES: usize = 10_000;
/// The most secrets that one listing looks at: where a policy hides most of them, a page ends early
/// rather than late.
const MOST_LOOKED_AT: usize = 200_000;
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
        let granted = access.capabilities(folder.as_str()).allow(capability)
            // Whoever may see something below may see the way to it.
            || (folder.as_str().is_empty() || access.sees_folder(folder.as_str()));
        if !granted {
            return Err(self.refuse_path(access, capability, folder.as_str()).await);
        }
        let listing = self.names(access, folder, list);
        let mut entry = access.entry(self, "secret.list", folder.as_str(), Outcome::Done);
        entry.details.insert("names".to_owned(), json!(listing.names.len()));
        self.begin(access.project()).commit(entry).await?;
        Ok(listing)
    }

    fn names(
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
        let mut looked_at = 0;
        loop {
            let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let records = &self.vault.records;
            let found =
                records.beginning_with(access.project(), RecordKind::Secret, prefix, bound, STEP);
            let Some(last) = found.last() else { return Listing { names, more: false } };
            from = Some(last.record.id.to_string());
            looked_at += found.len();
            for known in &found {
                let path = &*known.record.id;
                let rest = path.get(prefix.len()..).unwrap_or_default();
                let name = match rest.split_once('/') {
                    Some((folder, _)) if !list.recursive => format!("{folder}/"),
                    _ => rest.to_owned(),
                };
                if names.last() == Some(&name) || !access.sees(path) {
                    continue;
                }
                if names.len() == most {
                    return Listing { names, more: true };
                }
                names.push(name);
            }
            if looked_at >= MOST_LOOKED_AT {
                return Listing { names, more: true };
            }
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
