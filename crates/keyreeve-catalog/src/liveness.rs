//! How providers are asked whether a credential works.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::template::Template;

/// How to ask whether a credential is live.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Liveness {
    /// Whose liveness the answer tells.
    pub credential: String,
    /// Why there is no such request.
    pub none: Option<String>,
    /// The protocol, where it is not HTTP.
    pub connect: Option<Connect>,
    /// The way the credential gets into the request.
    pub auth: Option<String>,
    /// The method.
    pub method: Option<Method>,
    /// The address.
    pub url: Option<Template>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body of a POST.
    pub body: Option<String>,
    /// Statuses that mean it works.
    #[serde(default)]
    pub live: Vec<u16>,
    /// Statuses that mean it is accepted, but not for this.
    #[serde(default)]
    pub limited: Vec<u16>,
    /// Statuses that mean it does not work.
    #[serde(default)]
    pub dead: Vec<u16>,
    /// What answers say, read before the statuses; the first that fits decides.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// What a reader should know.
    pub note: Option<String>,
}

/// A protocol other than HTTP.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Connect {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// MongoDB.
    Mongodb,
    /// Redis or Valkey.
    Redis,
    /// SMTP.
    Smtp,
    /// SSH.
    Ssh,
}

/// A method that has no side effect, or POST where the vendor has nothing else.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
}

/// What an answer says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// A member of a JSON answer (RFC 6901).
    pub pointer: String,
    /// What it is equal to.
    pub equals: Option<serde_json::Value>,
    /// What it holds, as text.
    pub contains: Option<String>,
    /// What that means.
    pub verdict: Liveliness,
}

/// Whether a credential works.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Liveliness {
    /// It does.
    Live,
    /// It is accepted, but not for what was asked.
    Limited,
    /// It does not.
    Dead,
    /// The answer does not tell.
    Unknown,
}

impl Liveliness {
    /// As files and answers name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Limited => "limited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}
