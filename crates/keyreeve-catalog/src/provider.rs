//! What a catalogue file says. `catalog/README.md` is the description for people; each member here
//! has the name it has there.

use serde::Deserialize;

use crate::{auth::Auth, liveness::Liveness, pattern::Pattern, template::Template};

/// The version of the schema that this code reads.
pub const SCHEMA: u32 = 1;

/// One provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The schema's version; [`SCHEMA`].
    pub schema: u32,
    /// Names it: `stripe`.
    pub id: String,
    /// As the vendor writes it.
    pub name: String,
    /// What it is for.
    pub category: Category,
    /// Where its keys are explained.
    pub documentation: String,
    /// Where a person makes and revokes keys.
    pub console: String,
    /// Where the facts are from.
    pub sources: Vec<String>,
    /// The day they were last compared with the sources, `YYYY-MM-DD`.
    pub checked: String,
    /// What its loss would mean.
    pub risk: Risk,
    /// What differs from account to account.
    #[serde(default, rename = "parameter")]
    pub parameters: Vec<Parameter>,
    /// Kinds of values.
    #[serde(rename = "credential")]
    pub credentials: Vec<Credential>,
    /// Ways to put credentials into a request.
    #[serde(default, rename = "auth")]
    pub auths: Vec<Auth>,
    /// How to ask whether a credential is live.
    #[serde(default)]
    pub liveness: Vec<Liveness>,
    /// How calls are sent on; `None` where the credential is for no HTTP API.
    pub proxy: Option<Proxy>,
    /// How its webhooks are signed.
    #[serde(default, rename = "webhook")]
    pub webhooks: Vec<Webhook>,
    /// How its credentials are changed.
    #[serde(default, rename = "rotation")]
    pub rotations: Vec<Rotation>,
}

impl Provider {
    /// The credential of that id.
    pub fn credential(&self, id: &str) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.id == id)
    }

    /// How a credential is changed.
    pub fn rotation_of(&self, credential: &str) -> Option<&Rotation> {
        self.rotations
            .iter()
            .find(|rotation| rotation.credentials.iter().any(|id| id == credential))
    }

    /// After how many days a credential is to be changed: what the vendor or a standard sets, else
    /// what its risk asks for.
    pub fn rotate_every_days(&self) -> u32 {
        self.risk.rotate_every_days.unwrap_or(self.risk.level.rotate_every_days())
    }
}

/// What a provider is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Models.
    Ai,
    /// Counting what people do.
    Analytics,
    /// Machines and services to rent.
    Cloud,
    /// Code and packages.
    Code,
    /// Shops.
    Commerce,
    /// Calls and meetings.
    Communication,
    /// Databases and tables.
    Data,
    /// Mail.
    Email,
    /// Banks and exchange rates.
    Finance,
    /// What other things run on.
    Infrastructure,
    /// Maps and routes.
    Maps,
    /// Messages between people.
    Messaging,
    /// Watching machines and programs.
    Monitoring,
    /// Taking money.
    Payments,
    /// Tasks and documents.
    Productivity,
    /// Finding things.
    Search,
    /// Networks of people.
    Social,
}

impl Category {
    /// As in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ai => "ai",
            Self::Analytics => "analytics",
            Self::Cloud => "cloud",
            Self::Code => "code",
            Self::Commerce => "commerce",
            Self::Communication => "communication",
            Self::Data => "data",
            Self::Email => "email",
            Self::Finance => "finance",
            Self::Infrastructure => "infrastructure",
            Self::Maps => "maps",
            Self::Messaging => "messaging",
            Self::Monitoring => "monitoring",
            Self::Payments => "payments",
            Self::Productivity => "productivity",
            Self::Search => "search",
            Self::Social => "social",
        }
    }
}

/// What a provider's loss would mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// How much.
    pub level: RiskLevel,
    /// In one sentence.
    pub reason: String,
    /// A value of its own, in days.
    pub rotate_every_days: Option<u32>,
}

/// How much the loss of a credential would mean.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum RiskLevel {
    /// Little.
    Low,
    /// Something.
    Medium,
    /// Money, customers' data, the infrastructure.
    High,
}

impl RiskLevel {
    /// After how many days a credential of such risk is to be changed.
    pub fn rotate_every_days(self) -> u32 {
        match self {
            Self::High => 90,
            Self::Medium => 180,
            Self::Low => 365,
        }
    }

    /// As in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// What differs from account to account, such as the name of a project in an address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Names it in templates.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it looks like. One label of a host name, where it stands in one.
    pub pattern: Option<Pattern>,
    /// All it can be, for one that stands for a whole domain.
    #[serde(default)]
    pub values: Vec<String>,
    /// What it most often is.
    pub default: Option<String>,
    /// Usual names of environment variables.
    #[serde(default)]
    pub variables: Vec<String>,
    /// One that is made up.
    pub example: String,
}

/// One kind of value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Names it within its provider.
    pub id: String,
    /// For people.
    pub name: String,
    /// How secret it is.
    pub class: Class,
    /// What the whole value looks like.
    pub pattern: Pattern,
    /// What names the provider.
    pub evidence: Evidence,
    /// What a match holds, or what stands near it.
    pub keywords: Vec<String>,
    /// Usual names of environment variables.
    #[serde(default)]
    pub variables: Vec<String>,
    /// Credentials it does nothing without.
    #[serde(default)]
    pub paired_with: Vec<String>,
    /// What tells live from test, where the value does.
    pub modes: Option<Modes>,
    /// Known forms that are no credential at all.
    #[serde(default)]
    pub placeholders: Vec<Pattern>,
    /// How a part of the value follows from the rest.
    pub checksum: Option<Checksum>,
    /// The most days the vendor lets it live.
    pub longest_life_days: Option<u32>,
    /// Why it should not be used any more.
    pub deprecated: Option<Deprecated>,
    /// Whether it has more than one line.
    #[serde(default)]
    pub multiline: bool,
    /// Less particular kinds, as `provider.credential`, that match such values too.
    #[serde(default)]
    pub before: Vec<String>,
    /// Made-up values.
    pub examples: Vec<Example>,
    /// Values that are none.
    pub counter_examples: Vec<String>,
    /// What a reader should know.
    pub note: Option<String>,
}

impl Credential {
    /// Whether a value looks like this, its checksum included.
    pub fn matches(&self, value: &str) -> bool {
        self.pattern.matches(value)
            && self.checksum.is_none_or(|checksum| checksum.holds(value))
            && !self.placeholders.iter().any(|placeholder| placeholder.matches(value))
    }

    /// Whether the value is live or test, where it tells.
    pub fn mode_of(&self, value: &str) -> Option<Mode> {
        let modes = self.modes.as_ref()?;
        if modes.live.matches(value) {
            return Some(Mode::Live);
        }
        modes.test.matches(value).then_some(Mode::Test)
    }

    /// Whether every value holds one of the keywords.
    pub(crate) fn keyword_in(&self, value: &str) -> bool {
        self.keywords.iter().any(|keyword| value.contains(keyword.as_str()))
    }
}

/// How secret a credential is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Full power: must never leave the vault.
    Secret,
    /// Secret, with narrower rights by its nature.
    Restricted,
    /// Meant to be seen by everybody.
    Publishable,
    /// Names an account and opens nothing alone.
    Identifier,
}

impl Class {
    /// Whether it must be kept secret.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Restricted)
    }

    /// As in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Restricted => "restricted",
            Self::Publishable => "publishable",
            Self::Identifier => "identifier",
        }
    }
}

/// What tells whose credential a value is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Its form alone.
    Format,
    /// Only a variable's name or a word nearby.
    Context,
}

/// What live and test values look like.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modes {
    /// Live values.
    pub live: Pattern,
    /// Test values.
    pub test: Pattern,
}

/// Whether a credential works on real things.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On real ones.
    Live,
    /// On the vendor's play things.
    Test,
}

impl Mode {
    /// As in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// How a part of a value follows from the rest.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Checksum {
    /// The last six characters are the CRC-32 (IEEE) of what stands between the last `_` and them, in
    /// base62 (`0-9A-Za-z`). GitHub and npm do this:
    /// <https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>.
    #[serde(rename = "crc32-base62")]
    Crc32Base62,
}

impl Checksum {
    /// Whether it is right.
    pub fn holds(self, value: &str) -> bool {
        match self {
            Self::Crc32Base62 => Self::crc32_base62(value),
        }
    }

    fn crc32_base62(value: &str) -> bool {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let text = value.rsplit('_').next().unwrap_or_default();
        let Some((body, check)) =
            text.len().checked_sub(6).and_then(|at| text.split_at_checked(at))
        else {
            return false;
        };
        let mut rest = crc32fast::hash(body.as_bytes());
        check.bytes().rev().all(|digit| {
            let expected = DIGITS.get((rest % 62) as usize).copied();
            rest /= 62;
            expected == Some(digit)
        })
    }
}

/// Why a form should not be used any more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deprecated {
    /// Why, and what replaces it.
    pub note: String,
    /// The day it ends, `YYYY-MM-DD`, where that is known.
    pub ends: Option<String>,
}

/// A made-up value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The value.
    pub value: String,
    /// What it is, where the value tells.
    pub mode: Option<Mode>,
}

/// How calls are sent on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where calls go; the first is the usual one.
    pub base_urls: Vec<Template>,
    /// The only hosts that may see the credential.
    pub hosts: Vec<Template>,
    /// Ways to put credentials in, the usual one first.
    pub auth: Vec<String>,
    /// Headers of answers that can show the credential.
    #[serde(default)]
    pub scrub_headers: Vec<String>,
    /// Members of answers that hold credentials.
    #[serde(default)]
    pub scrub_json: Vec<String>,
    /// Parameters of the query that are not logged.
    #[serde(default)]
    pub scrub_query: Vec<String>,
    /// What one unit of cost is, where calls cost differently.
    pub cost_unit: Option<String>,
    /// What calls cost that cost something else than one unit.
    #[serde(default, rename = "cost")]
    pub costs: Vec<CallCost>,
}

/// What calls of a route cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallCost {
    /// The calls: a method and a path, in which `*` is one segment, or the rest where it is the last.
    pub route: String,
    /// Units of each.
    pub units: u32,
}

/// How webhooks are signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The verifier's name.
    pub scheme: String,
    /// The credential it verifies with.
    pub secret: String,
    /// The header with the signature; `None` where it stands in the body.
    pub signature_header: Option<String>,
    /// The vendor's tolerance for clocks, in seconds.
    pub tolerance_s: Option<u32>,
    /// Where it is described.
    pub documentation: String,
}

/// How credentials are changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Which.
    pub credentials: Vec<String>,
    /// What kind of change.
    pub class: RotationClass,
    /// In one sentence.
    pub summary: String,
    /// How many may exist at once.
    pub at_most: Option<u32>,
    /// Seconds until the vendor knows everywhere.
    pub propagation_s: Option<u32>,
    /// What a person does, in order.
    #[serde(default)]
    pub steps: Vec<String>,
    /// Where it is described.
    pub documentation: String,
}

/// What kind of change a rotation is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum RotationClass {
    /// By API; old and new live together.
    A,
    /// Old and new live together; made by hand.
    B,
    /// The new one kills the old one at once.
    C,
}

impl RotationClass {
    /// As in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}
