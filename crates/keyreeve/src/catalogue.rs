//! The catalogue of providers: the files the program carries, and those of a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context as _, bail};
use keyreeve_catalog::{Catalog, CredentialPlace, LARGEST_FILE, Mistake, Provider};
use keyreeve_core::vault::SecretPath;
use keyreeve_engine::vault::{CredentialJudgement, CredentialTypes};
use tracing::error;

/// More files than this are not a catalogue.
const MOST_FILES: usize = 10_000;

/// A file, by name and text.
pub(crate) type File = (String, String);

/// The catalogue, as the vault asks it what credentials look like.
///
/// Read when it is first asked: until a secret is written nobody needs the memory. A folder of the
/// user's is read at once, so that its mistakes are told at the start.
pub(crate) struct CatalogTypes(
    LazyLock<Option<Catalog>, Box<dyn FnOnce() -> Option<Catalog> + Send>>,
);

impl CatalogTypes {
    /// Our providers, and those of the folder.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let read = folder.map(|folder| open(Some(folder))).transpose()?;
        // The build has read these very files.
        let usual = || open(None).inspect_err(|error| error!(%error, "no catalogue")).ok();
        Ok(Self(LazyLock::new(Box::new(move || read.or_else(usual)))))
    }
}

impl CredentialTypes for CatalogTypes {
    fn judge(&self, path: &SecretPath, field: &str, value: &str) -> CredentialJudgement {
        let Some(catalog) = self.0.as_ref() else { return CredentialJudgement::default() };
        let judged = catalog.judge(&CredentialPlace { path: path.as_str(), field }, value);
        CredentialJudgement {
            provider: judged.known.map(|known| known.provider.id.clone()),
            objection: judged.objection.map(|objection| objection.to_string()),
        }
    }

    fn provider(&self, id: &str) -> Option<(&Provider, &serde_json::Value)> {
        let catalog = self.0.as_ref()?;
        Some((catalog.provider(id)?, catalog.document(id)?))
    }
}

/// Our providers, and those of the folder.
pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Catalog> {
    let files = folder.map_or_else(|| Ok(Vec::new()), |folder| read_all(&in_folder(folder)?))?;
    with(&files).map_err(|mistakes| told(&mistakes))
}

/// Our providers, and those of the files; or every mistake.
pub(crate) fn with(files: &[File]) -> Result<Catalog, Vec<Mistake>> {
    let mut all: Vec<(&str, &str)> = Catalog::built_in_files().collect();
    all.extend(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    Catalog::load(all)
}

fn told(mistakes: &[Mistake]) -> anyhow::Error {
    let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
    let more = match mistakes.len() {
        0 | 1 => String::new(),
        count => format!(", and {} more mistakes", count - 1),
    };
    anyhow::anyhow!(
        "the catalogue (catalog.folder) has a mistake: {first}{more}: see `keyreeve catalog validate`"
    )
}

/// The files of a folder that end in `.toml`, in the order of their names.
pub(crate) fn in_folder(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let told = || format!("cannot read the folder {} (catalog.folder)", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(told)? {
        let path = entry.with_context(told)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            bail!("{} holds more than {MOST_FILES} files", folder.display());
        }
    }
    files.sort();
    Ok(files)
}

/// Reads files, each no larger than a file of the catalogue may be.
pub(crate) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<File>> {
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> anyhow::Result<File> {
    let told = || format!("cannot read {}", path.display());
    let size = fs::metadata(path).with_context(told)?.len();
    if size > LARGEST_FILE as u64 {
        bail!("{} must be at most {} KiB", path.display(), LARGEST_FILE >> 10);
    }
    let text = fs::read_to_string(path).with_context(told)?;
    Ok((path.display().to_string(), text))
}
