//! Where a log to be checked comes from.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use keyreeve_core::audit::{ExportLine, Hash};
use keyreeve_store::sqlite::AuditFile;

use crate::{
    cli::audit::VerifyArgs, config::Flags, context::Context, failure::Advised,
    installation::DataFolder,
};

/// Where a log comes from.
pub(super) enum Source {
    /// The database in the data folder, read beside a running server or without one.
    Folder {
        folder: DataFolder,
        file: AuditFile,
        /// The anchor beside the database, read before it: a running server takes both further.
        anchor: Option<String>,
    },
    /// An export.
    Export { path: PathBuf },
    /// A server elsewhere, whose export was fetched.
    Server { export: tempfile::NamedTempFile, url: String },
}

impl Source {
    pub(super) async fn choose(args: &VerifyArgs, context: &Context) -> anyhow::Result<Self> {
        if let Some(path) = &args.file {
            return Ok(Self::Export { path: path.clone() });
        }
        if let Some(url) = context.global.url.as_deref().filter(|url| !url.is_empty()) {
            return Self::fetch(url, context).await;
        }
        let config = context.config(Flags::default())?;
        if config.store.url.is_some() {
            // The log is in a database that other nodes write to; the server here reads it for us.
            return Self::fetch("the local socket", context).await;
        }
        let folder = DataFolder::at(&config.store.data_dir);
        if !folder.database().exists() {
            bail!(Advised::new(
                format!("there is no audit in {}", folder.path().display()),
                "name the data folder with --data-dir, an export with --file, or a server with \
                 --url",
            ));
        }
        Self::folder(folder)
    }

    /// The database in a data folder.
    pub(super) fn folder(folder: DataFolder) -> anyhow::Result<Self> {
        let anchor = match std::fs::read_to_string(folder.anchor()) {
            Ok(note) => Some(note),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = folder.anchor();
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let file = AuditFile::open(folder.database())?;
        Ok(Self::Folder { folder, file, anchor })
    }

    async fn fetch(url: &str, context: &Context) -> anyhow::Result<Self> {
        let mut arriving = context.client()?.export_audit().await?;
        let mut export = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        while let Some(chunk) = arriving.chunk().await? {
            export.write_all(&chunk).context("cannot write a temporary file")?;
        }
        export.rewind().context("cannot read a temporary file")?;
        Ok(Self::Server { export, url: url.to_owned() })
    }

    /// The key beside the log. Whoever can change the log there can change the key too, so an
    /// export's own key is taken with a warning.
    pub(super) fn public_key(&self, context: &Context) -> anyhow::Result<String> {
        match self {
            Self::Folder { folder, .. } => {
                let path = folder.audit_public_key();
                std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))
            }
            Self::Export { .. } | Self::Server { .. } => {
                context.output.note(
                    "note: checked with the public key in the export itself; name one you trust \
                     with --public-key",
                )?;
                let mut key = None;
                self.for_each_line(|line| {
                    if let ExportLine::Header(header) = line {
                        key = Some(header.public_key);
                    }
                })?;
                key.context("the export names no public key")
            }
        }
    }

    /// Signed tree heads and where each was found.
    pub(super) fn checkpoints(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut notes = Vec::new();
        match self {
            Self::Folder { folder, file, anchor } => {
                for note in file.checkpoints()? {
                    notes.push(("the database".to_owned(), note));
                }
                if let Some(note) = anchor {
                    notes.push((folder.anchor().display().to_string(), note.clone()));
                }
            }
            Self::Export { .. } | Self::Server { .. } => self.for_each_line(|line| {
                if let ExportLine::Checkpoint(note) = line {
                    notes.push(("the export".to_owned(), note));
                }
            })?,
        }
        Ok(notes)
    }

    /// What the database itself finds wrong with its tables.
    pub(super) fn problems(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Folder { file, .. } => Ok(file.integrity_problems()?),
            Self::Export { .. } | Self::Server { .. } => Ok(Vec::new()),
        }
    }

    /// Calls `each` with position, bytes, kept leaf hash, and whether the words it is listed
    /// under are those that were recorded.
    pub(super) fn for_each_entry(
        &self,
        mut each: impl FnMut(u64, &[u8], &Hash, bool),
    ) -> anyhow::Result<()> {
        match self {
            Self::Folder { file, .. } => {
                file.for_each(|row| each(row.seq, &row.body, &row.leaf, row.columns_agree()))?;
                Ok(())
            }
            Self::Export { .. } | Self::Server { .. } => {
                let mut seq = 0;
                self.for_each_line(|line| {
                    if let ExportLine::Entry { bytes, leaf } = line {
                        each(seq, &bytes, &leaf, true);
                        seq += 1;
                    }
                })
            }
        }
    }

    fn for_each_line(&self, mut each: impl FnMut(ExportLine)) -> anyhow::Result<()> {
        let path: &Path = match self {
            Self::Folder { folder, .. } => folder.path(),
            Self::Export { path } => path,
            Self::Server { export, .. } => export.path(),
        };
        let cannot = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(cannot)?;
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(cannot)?;
            let line = ExportLine::parse(&line)
                .with_context(|| format!("{} line {}", path.display(), number + 1))?;
            each(line);
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { folder, .. } => write!(f, "{}", folder.database().display()),
            Self::Export { path } => write!(f, "{}", path.display()),
            Self::Server { url, .. } => f.write_str(url),
        }
    }
}
