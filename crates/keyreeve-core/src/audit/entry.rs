//! One record of who did what to which thing, and its one byte form.

use std::{borrow::Cow, fmt, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{key::KeyId, name::ProjectName};

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The holder of an API key.
    Key(KeyId),
    /// A user of this machine, through the local socket or the command line.
    Local {
        /// The operating system's user id.
        uid: u32,
    },
    /// The holder of a token of the vault: what it is called, and its accessor.
    Token(String),
    /// Somebody who showed no good credential.
    Anonymous,
    /// Keyreeve itself.
    System(Cow<'static, str>),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Local { uid } => write!(f, "local:{uid}"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::System(task) => write!(f, "system:{task}"),
        }
    }
}

impl Actor {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "anonymous" => Some(Self::Anonymous),
            Some(("key", id)) => id.parse().ok().map(Self::Key),
            Some(("local", uid)) => uid.parse().ok().map(|uid| Self::Local { uid }),
            Some(("token", name)) => Some(Self::Token(name.to_owned())),
            Some(("system", task)) => Some(Self::System(task.to_owned().into())),
            _ => None,
        }
    }
}

/// What was acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The kind of thing, such as `api_key`.
    pub kind: Cow<'static, str>,
    /// Its public name.
    pub id: String,
}

impl Target {
    /// A target of that kind and public name.
    pub fn new(kind: &'static str, id: impl fmt::Display) -> Self {
        Self { kind: kind.into(), id: id.to_string() }
    }
}

/// Whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused.
    Denied,
}

/// The request that led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOrigin {
    /// The id the caller got with the answer.
    pub id: String,
    /// Where the connection came from; absent on the local socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

/// One record. Never holds a secret: whoever builds one passes ids and names only.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Timestamp,
    /// The tenant it belongs to.
    pub project: ProjectName,
    /// Who.
    pub actor: Actor,
    /// What, as `noun.verb`, such as `key.revoke`.
    pub action: Cow<'static, str>,
    /// To what.
    pub target: Target,
    /// Whether it was done.
    pub outcome: Outcome,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The request that led to it, if one did.
    pub request: Option<RequestOrigin>,
    /// Anything else a reader needs, such as names of changed fields.
    pub details: Map<String, Value>,
}

/// Bytes that are not an audit entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an audit entry")]
pub struct MalformedEntry;

/// Room for most entries.
const USUAL_BYTES: usize = 640;

/// The byte form: compact JSON with fields in this order. `serde_json` keeps the order of a
/// struct and sorts the keys of a map, so equal entries have equal bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded<'a> {
    v: u32,
    seq: u64,
    at: Timestamped,
    project: Cow<'a, str>,
    actor: Cow<'a, str>,
    action: Cow<'a, str>,
    target: Cow<'a, Target>,
    outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Cow<'a, RequestOrigin>>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    details: Cow<'a, Map<String, Value>>,
}

/// RFC 3339 with milliseconds: precise enough to read, coarse enough to compare across stores.
struct Timestamped(Timestamp);

impl Serialize for Timestamped {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

impl<'de> Deserialize<'de> for Timestamped {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| serde::de::Error::custom("not a timestamp"))
    }
}

const FORMAT_VERSION: u32 = 1;

impl AuditEntry {
    /// The bytes that are stored and hashed, for the entry at position `seq`.
    ///
    /// The position is part of the bytes, so an entry moved elsewhere is found even without its
    /// neighbours.
    pub fn encode(&self, seq: u64) -> Vec<u8> {
        let encoded = Encoded {
            v: FORMAT_VERSION,
            seq,
            at: Timestamped(self.at),
            project: self.project.as_str().into(),
            actor: self.actor.to_string().into(),
            action: Cow::Borrowed(&self.action),
            target: Cow::Borrowed(&self.target),
            outcome: self.outcome,
            reason: self.reason.as_deref().map(Cow::Borrowed),
            request: self.request.as_ref().map(Cow::Borrowed),
            details: Cow::Borrowed(&self.details),
        };
        // Strings and numbers into memory: there is nothing here that can fail.
        // Nearly all are shorter: one piece of memory, not one after the other.
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        match serde_json::to_writer(&mut bytes, &encoded) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// Reads what [`AuditEntry::encode`] wrote: the position and the entry.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Self), MalformedEntry> {
        let encoded: Encoded<'_> = serde_json::from_slice(bytes).map_err(|_| MalformedEntry)?;
        if encoded.v != FORMAT_VERSION {
            return Err(MalformedEntry);
        }
        let entry = Self {
            at: encoded.at.0,
            project: encoded.project.parse().map_err(|_| MalformedEntry)?,
            actor: Actor::parse(&encoded.actor).ok_or(MalformedEntry)?,
            action: encoded.action.into_owned().into(),
            target: encoded.target.into_owned(),
            outcome: encoded.outcome,
            reason: encoded.reason.map(Cow::into_owned),
            request: encoded.request.map(Cow::into_owned),
            details: encoded.details.into_owned(),
        };
        Ok((encoded.seq, entry))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            at: "2026-11-21T09:00:00.125Z".parse().unwrap(),
            project: ProjectName::default_project(),
            actor: Actor::Key(KeyId::from_entropy([3; 16])),
            action: "key.revoke".into(),
            target: Target::new("api_key", "abc"),
            outcome: Outcome::Done,
            reason: Some("leaked".into()),
            request: Some(RequestOrigin {
                id: "r-1".into(),
                ip: Some(IpAddr::from([203, 0, 113, 9])),
            }),
            details: Map::from_iter([("b".to_owned(), 1.into()), ("a".to_owned(), "x".into())]),
        }
    }

    #[test]
    fn the_byte_form_is_fixed() {
        let text = String::from_utf8(entry().encode(7)).unwrap();
        assert_eq!(
            text,
            format!(
                "{{\"v\":1,\"seq\":7,\"at\":\"2026-11-21T09:00:00.125Z\",\"project\":\"default\",\
                 \"actor\":\"key:{}\",\"action\":\"key.revoke\",\
                 \"target\":{{\"kind\":\"api_key\",\"id\":\"abc\"}},\"outcome\":\"done\",\
                 \"reason\":\"leaked\",\
                 \"request\":{{\"id\":\"r-1\",\"ip\":\"203.0.113.9\"}},\
                 \"details\":{{\"a\":\"x\",\"b\":1}}}}",
                KeyId::from_entropy([3; 16])
            )
        );
    }

    #[test]
    fn decoding_undoes_encoding() {
        for actor in [
            Actor::Anonymous,
            Actor::Local { uid: 1000 },
            Actor::Token("approle-web/9f".to_owned()),
            Actor::System("usage-flush".into()),
            Actor::Key(KeyId::from_entropy([9; 16])),
        ] {
            let entry = AuditEntry { actor, ..entry() };
            assert_eq!(AuditEntry::decode(&entry.encode(u64::MAX)), Ok((u64::MAX, entry)));
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = AuditEntry::decode(&bytes);
        }

        #[test]
        fn one_changed_byte_changes_the_leaf(at: prop::sample::Index, with: u8) {
            let bytes = entry().encode(3);
            let mut changed = bytes.clone();
            let at = at.index(bytes.len());
            prop_assume!(changed[at] != with);
            changed[at] = with;
            prop_assert_ne!(super::super::Hash::leaf(&bytes), super::super::Hash::leaf(&changed));
        }
    }
}
