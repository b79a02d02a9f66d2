//! Copies of secrets for when the server cannot be reached.
//!
//! The server is always asked first. A copy is sealed under the token that the server was asked with
//! (`keyreeve_core::vault::OfflineCopy`), so whoever lost the token has lost the copy, too. It is used
//! only if nothing of ours answers; a server that says no, or that is sealed, has answered.

mod folder;

pub(crate) use folder::CopyFolder;

use std::{fmt, io};

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use keyreeve_api::{ClientError, SecretView, Token};
use keyreeve_core::{
    Secret,
    vault::{OfflineCopy, OfflineRandomness, OfflineSubject, credential_digest},
};
use keyreeve_engine::{Clock as _, Entropy};
use serde::Serialize;

use self::folder::CopyFolderError;
use crate::{
    config::cache::CacheConfig,
    context::Context,
    environment::Environment,
    output::{
        moment,
        printable::{printable, printable_lines},
    },
    system::{SystemClock, SystemEntropy},
};

/// The most bytes that one copy is of.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// The copies of what one server said to the holder of one token.
pub(crate) struct OfflineCopies<'c> {
    folder: CopyFolder,
    fresh: SignedDuration,
    longest: SignedDuration,
    endpoint: &'c str,
    token: &'c Token,
}

impl fmt::Debug for OfflineCopies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineCopies").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A copy that may be used.
#[derive(Debug)]
pub(crate) struct Found {
    /// When the server was asked for what is in it.
    pub(crate) taken_at: Timestamp,
    /// Whether it is older than a copy is without a warning.
    pub(crate) is_stale: bool,
    /// What the server said.
    pub(crate) plaintext: Secret<Vec<u8>>,
}

/// What a search for a copy came to.
#[derive(Debug)]
pub(crate) enum Sought {
    /// There is none.
    Nothing,
    /// There was one, but it was too old.
    TooOld {
        /// When the server was asked for what was in it.
        taken_at: Timestamp,
    },
    /// There is one.
    Found(Found),
}

impl<'c> OfflineCopies<'c> {
    /// `None` where none are to be kept, or nobody knows where.
    pub(crate) fn new(
        cache: &CacheConfig,
        environment: &Environment,
        endpoint: &'c str,
        token: &'c Token,
    ) -> Option<Self> {
        if cache.fresh.is_zero() {
            return None;
        }
        let folder = CopyFolder::find(cache, environment)?;
        let endpoint = endpoint.trim_end_matches('/');
        Some(Self { folder, fresh: cache.fresh, longest: cache.longest(), endpoint, token })
    }

    /// Keeps a copy, in the place of the one before.
    pub(crate) fn keep(
        &self,
        name: &str,
        plaintext: &Secret<Vec<u8>>,
        taken_at: Timestamp,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        // EXPOSE: to be sealed.
        let plaintext = plaintext.expose();
        let mebibytes = MOST_BYTES / (1024 * 1024);
        ensure!(plaintext.len() <= MOST_BYTES, "it is larger than {mebibytes} MiB");
        let entropy: &dyn Entropy = &SystemEntropy::new();
        let random = OfflineRandomness { salt: entropy.bytes()?, nonce: entropy.bytes()? };
        let copy = OfflineCopy::seal(self.token, &self.subject(name), taken_at, plaintext, random)?;
        self.folder.write(&self.file(name), copy.as_bytes(), self.longest, now)?;
        Ok(())
    }

    /// Looks for a copy that may be used. Whatever is in the folder and too old is removed.
    pub(crate) fn find(&self, name: &str, now: Timestamp) -> Result<Sought, CopyFolderError> {
        let file = self.file(name);
        let Some(bytes) = self.folder.read(&file)? else { return Ok(Sought::Nothing) };
        let opened = OfflineCopy::open(self.token, &self.subject(name), &bytes);
        let sought = match opened {
            Ok((taken_at, _)) if now < taken_at => Sought::Nothing,
            Ok((taken_at, plaintext)) => {
                let age = now.duration_since(taken_at);
                if age > self.longest {
                    Sought::TooOld { taken_at }
                } else {
                    Sought::Found(Found { taken_at, is_stale: age > self.fresh, plaintext })
                }
            }
            // Cut off by a power cut, or changed.
            Err(_) => Sought::Nothing,
        };
        if !matches!(sought, Sought::Found(_)) {
            self.folder.remove(&file)?;
        }
        self.folder.tidy(self.longest, now)?;
        Ok(sought)
    }

    /// Removes a copy, if there is one.
    pub(crate) fn forget(&self, name: &str) -> Result<(), CopyFolderError> {
        self.folder.remove(&self.file(name))
    }

    fn subject<'s>(&'s self, name: &'s str) -> OfflineSubject<'s> {
        OfflineSubject { endpoint: self.endpoint, name }
    }

    /// The name of the copy's file, which tells nothing of what the copy is of.
    fn file(&self, name: &str) -> String {
        // EXPOSE: only its digest goes on.
        let token = credential_digest(self.token.expose());
        let digest = credential_digest(&format!("{}\n{token}\n{name}", self.endpoint));
        CopyFolder::file_name(&digest)
    }
}

/// What can be kept as a copy.
pub(crate) trait Kept: Sized {
    /// In the form in which it is kept.
    fn to_kept(&self) -> serde_json::Result<Secret<Vec<u8>>>;
    /// Out of that form.
    fn from_kept(bytes: &Secret<Vec<u8>>) -> serde_json::Result<Self>;
}

impl Kept for SecretView {
    fn to_kept(&self) -> serde_json::Result<Secret<Vec<u8>>> {
        written(self)
    }

    fn from_kept(bytes: &Secret<Vec<u8>>) -> serde_json::Result<Self> {
        // EXPOSE: read into what it was.
        serde_json::from_slice(bytes.expose())
    }
}

/// As JSON, in one piece of memory: growing would leave copies behind.
pub(crate) fn written(value: &impl Serialize) -> serde_json::Result<Secret<Vec<u8>>> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value)?;
    let mut bytes = Secret::new(Vec::with_capacity(length.0));
    // EXPOSE: written where it stays.
    serde_json::to_writer(bytes.expose_mut(), value)?;
    Ok(bytes)
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One question to a server, and the copy of what it said to it before.
#[derive(Debug)]
pub(crate) struct Fallback<'c> {
    context: &'c Context,
    copies: Option<OfflineCopies<'c>>,
    name: String,
}

impl<'c> Fallback<'c> {
    /// `name` is the question, unlike any other.
    pub(crate) fn new(context: &'c Context, name: String) -> Self {
        let copies = context.offline().unwrap_or_else(|error| {
            tell(context, &format!("no copies are kept for when the server is away: {error}"));
            None
        });
        Self { context, copies, name }
    }

    /// Asks the server; if it cannot be reached, the copy answers.
    pub(crate) async fn ask<T: Kept>(
        &self,
        question: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        // On the heap: this would be three times as large as the question otherwise.
        match self.ask_server(Box::pin(question)).await {
            Err(error) if is_unreachable(&error) => self.ask_copy(error),
            answer => answer,
        }
    }

    /// Asks the server and nobody else. Its answer is kept.
    pub(crate) async fn ask_server<T: Kept>(
        &self,
        question: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        // What is true from now on may be missing in the answer.
        let asked_at = SystemClock::new().now();
        let answer = question.await;
        match &answer {
            Ok(answer) => self.keep(answer, asked_at),
            Err(error) => self.learn(error),
        }
        answer
    }

    /// Forgets the copy if the server has said that there is nothing to be had.
    pub(crate) fn learn(&self, error: &anyhow::Error) {
        if is_final(error) {
            self.forget();
        }
    }

    fn keep(&self, answer: &impl Kept, asked_at: Timestamp) {
        let Some(copies) = &self.copies else { return };
        let now = SystemClock::new().now();
        let plaintext = answer.to_kept().map_err(anyhow::Error::new);
        let kept = plaintext.and_then(|text| copies.keep(&self.name, &text, asked_at, now));
        if let Err(error) = kept {
            // The one from before is not what the server says now. Mostly there is none.
            let _ = copies.forget(&self.name);
            let what = "no copy was kept for when the server cannot be reached";
            tell(self.context, &format!("{what} (cache.fresh = \"0s\" keeps none): {error:#}"));
        }
    }

    fn forget(&self) {
        let Some(copies) = &self.copies else { return };
        if let Err(error) = copies.forget(&self.name) {
            let error = anyhow::Error::new(error);
            tell(self.context, &format!("a copy could not be removed: {error:#}"));
        }
    }

    /// The copy instead of the server, which could not be reached because of `error`.
    fn ask_copy<T: Kept>(&self, error: anyhow::Error) -> anyhow::Result<T> {
        let Some(copies) = &self.copies else { return Err(error) };
        let now = SystemClock::new().now();
        let found = match copies.find(&self.name, now) {
            Ok(Sought::Found(found)) => found,
            Ok(Sought::TooOld { taken_at }) => {
                let taken = moment::both(taken_at, now);
                return Err(error.context(format!(
                    "the copy of {taken} was too old to be used and is removed: the setting \
                     cache.stale says how old one may be"
                )));
            }
            Ok(Sought::Nothing) => return Err(error),
            Err(why) => {
                let why = anyhow::Error::new(why);
                tell(self.context, &format!("no copy could be looked for: {why:#}"));
                return Err(error);
            }
        };
        let Ok(answer) = T::from_kept(&found.plaintext) else { return Err(error) };
        let taken = moment::both(found.taken_at, now);
        let why = error.to_string();
        let why = printable(&why);
        let text = format!("the server cannot be reached ({why}): the copy of {taken} is used");
        if found.is_stale {
            tell(self.context, &format!("warning: {text}, which is older than cache.fresh"));
        } else {
            tell(self.context, &text);
        }
        Ok(answer)
    }
}

/// Tells something that is no reason to stop, not even if nobody can be told.
fn tell(context: &Context, text: &str) {
    let _ = context.output.note(&printable_lines(text));
}

/// What the client said, however much was said about it.
fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|link| link.downcast_ref())
}

/// Whether nothing of ours has answered: neither the server, nor it by way of what stands before it.
fn is_unreachable(error: &anyhow::Error) -> bool {
    match client_error(error) {
        Some(ClientError::Unreachable { .. }) => true,
        Some(ClientError::NotKeyreeve { status, .. }) => matches!(status, 502..=504),
        // A gateway that speaks JSON looks like a vault without a word, which ours never is.
        Some(ClientError::VaultRefused { status: 502 | 504, errors }) => errors.is_empty(),
        _ => false,
    }
}

/// Whether the server has answered that there is nothing to be had, for this token or for anybody.
fn is_final(error: &anyhow::Error) -> bool {
    match client_error(error) {
        // It has answered what it was asked, and what was asked for is not there.
        None => true,
        Some(ClientError::Refused(problem)) => matches!(problem.status, 401 | 403),
        Some(ClientError::VaultRefused { status, .. }) => matches!(status, 401 | 403),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests;
