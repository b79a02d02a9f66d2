//! Who is calling.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use keyreeve_core::{
    audit::{Actor, RequestOrigin},
    key::KeyId,
    name::ProjectName,
};

use crate::{Action, PerThread, action::VerifyKey, live::Tier, verify::Chain};

/// Names one request in answers, logs and audit. Kept inline, so making one allocates nothing.
#[derive(Clone, Copy)]
pub struct RequestId {
    text: [u8; Self::LONGEST],
    length: u8,
}

impl RequestId {
    /// The longest id taken from a caller.
    pub const LONGEST: usize = 64;

    /// Takes an id that the caller brought: 1 to 64 characters of `a-z A-Z 0-9 - _ .`.
    pub fn from_caller(text: &str) -> Option<Self> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        (!text.is_empty() && text.len() <= Self::LONGEST && text.bytes().all(good))
            .then(|| Self::from_ascii(text.as_bytes()))
    }

    /// The next id: a random part of this process, then a thread's number and a count of its own.
    pub fn next(process: u64, counters: &PerThread<AtomicU64>) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let (thread, counter) = counters.own_with_number();
        // The first of twelve digits; at a hundred thousand a second, a count gets there after five years.
        let count = counter.fetch_add(1, Ordering::Relaxed) + ((thread as u64) << 44);
        let mut text = [b'-'; 25];
        for (n, digit) in text[..12].iter_mut().enumerate() {
            *digit = DIGITS[(process >> (4 * n) & 15) as usize];
        }
        for (n, digit) in text[13..].iter_mut().rev().enumerate() {
            *digit = DIGITS[(count >> (4 * n) & 15) as usize];
        }
        Self::from_ascii(&text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Only ever built from ASCII.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The id as the bytes of its text: letters, digits, `-`, `_` and `.`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }

    fn from_ascii(bytes: &[u8]) -> Self {
        let mut text = [0; Self::LONGEST];
        text[..bytes.len()].copy_from_slice(bytes);
        // At most LONGEST, which fits.
        Self { text, length: u8::try_from(bytes.len()).unwrap_or(0) }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a request besides its content.
#[derive(Clone, Copy, Debug)]
pub struct RequestMeta {
    /// Its id.
    pub id: RequestId,
    /// Where the connection came from; `None` on the local socket.
    pub ip: Option<IpAddr>,
}

impl RequestMeta {
    /// The form the audit keeps.
    pub fn origin(&self) -> RequestOrigin {
        RequestOrigin { id: self.id.as_str().to_owned(), ip: self.ip }
    }
}

/// Somebody whose credential was good.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    request: RequestMeta,
}

#[derive(Clone, Debug)]
enum Identity {
    Key(Chain),
    Local { uid: u32, project: ProjectName },
    Gateway { kind: &'static str, project: ProjectName },
}

impl Caller {
    pub(crate) fn key(chain: Chain, request: RequestMeta) -> Self {
        Self { identity: Identity::Key(chain), request }
    }

    /// A gateway that showed the shared secret. May only verify, in this project.
    pub fn gateway(kind: &'static str, project: ProjectName, request: RequestMeta) -> Self {
        Self { identity: Identity::Gateway { kind, project }, request }
    }

    /// The user who owns this server's process, through the local socket. May do everything in
    /// the project of their choice.
    pub fn local(uid: u32, project: ProjectName, request: RequestMeta) -> Self {
        Self { identity: Identity::Local { uid, project }, request }
    }

    /// The tenant the caller acts in.
    pub fn project(&self) -> &ProjectName {
        match &self.identity {
            Identity::Key(chain) => chain.key.project(),
            Identity::Local { project, .. } | Identity::Gateway { project, .. } => project,
        }
    }

    /// The request that brought the caller.
    pub fn request(&self) -> &RequestMeta {
        &self.request
    }

    /// The form the audit keeps.
    pub fn actor(&self) -> Actor {
        match &self.identity {
            Identity::Key(chain) => Actor::Key(chain.key.id()),
            Identity::Gateway { kind, .. } => Actor::System((*kind).into()),
            Identity::Local { uid, .. } => Actor::Local { uid: *uid },
        }
    }

    /// The key that calls and how it is limited; `None` for callers without a key, who have no
    /// limit.
    pub(crate) fn tier(&self) -> Option<(KeyId, Tier)> {
        match &self.identity {
            // Derived keys count as the key they were derived from, or one could make many.
            Identity::Key(chain) => {
                let first = chain.ancestors.last().unwrap_or(&chain.key);
                Some((first.lineage(), chain.key.tier()))
            }
            Identity::Local { .. } | Identity::Gateway { .. } => None,
        }
    }

    /// The key that calls, if one does.
    pub(crate) fn calling_key(&self) -> Option<&Chain> {
        match &self.identity {
            Identity::Key(chain) => Some(chain),
            Identity::Local { .. } | Identity::Gateway { .. } => None,
        }
    }

    /// Whether the caller's rights include all of `wanted`.
    pub fn covers(&self, wanted: &str) -> bool {
        match &self.identity {
            Identity::Key(chain) => chain.may(wanted),
            Identity::Local { .. } => true,
            Identity::Gateway { .. } => wanted == VerifyKey::PERMISSION,
        }
    }
}
