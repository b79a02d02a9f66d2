//! `keyreeve webhook`.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use keyreeve_core::restriction::IpNetwork;

/// Examples of `webhook`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve webhook add stripe --secret production/stripe-webhook --public-url https://hooks.example.com/hooks/stripe --to https://app.example.com/hooks
  keyreeve webhook list
  keyreeve webhook events --state dead
  keyreeve webhook replay whe_0193a5c4e1d20123456789abcdef
  keyreeve webhook verify --scheme stripe --secret-file stripe.txt --request captured.http

`schemes`, `verify` and `sign` work on files alone; no server is asked.";

const ADD: &str = "\
Examples:
  keyreeve webhook add stripe --secret production/stripe-webhook --public-url https://hooks.example.com/hooks/stripe --to https://app.example.com/hooks
  keyreeve webhook add sms --scheme twilio --secret production/twilio --field auth_token --public-url https://hooks.example.com/hooks/sms --to http://app:3000/hooks/sms --allow-internal --allow-plaintext
  keyreeve webhook add acme --scheme-file acme.toml --secret production/acme --public-url https://hooks.example.com/hooks/acme --to https://app.example.com/hooks
  keyreeve webhook add bank --in-query token --allow-from 203.0.113.0/24 --secret production/bank --public-url https://hooks.example.com/hooks/bank --to https://app.example.com/hooks

The scheme is the source's name unless --scheme says another. What the app verifies events with is
printed once, alone on standard output: it is a secret in the form of Standard Webhooks.";

const LIST: &str = "\
Examples:
  keyreeve webhook list
  keyreeve webhook list --format json";

const SHOW: &str = "\
Examples:
  keyreeve webhook show stripe
  keyreeve webhook show whe_0193a5c4e1d20123456789abcdef
  keyreeve webhook show whe_0193a5c4e1d20123456789abcdef --reveal

Of an event it shows the form of what came in, without what customers sent. With --reveal it shows
all of it but headers that show a token; that you looked is in the audit.";

const UPDATE: &str = "\
Examples:
  keyreeve webhook update stripe --to https://new-app.example.com/hooks
  keyreeve webhook update sms --tolerance 600 --attempts 20
  keyreeve webhook update stripe --order-by data.object.customer
  keyreeve webhook update calls --no-order-by --answer-within 10000

With --order-by an event waits for those before it with the same text at that place, until the app
took them or they are dead. With --answer-within the sender gets the app's own answer, as Twilio's
TwiML and Discord's interactions need it; if none comes in time it gets 504, and the event is
delivered all the same.";

const PAUSE: &str = "\
Examples:
  keyreeve webhook pause stripe

Events are still taken and kept; they are delivered once the source is resumed.";

const RESUME: &str = "\
Examples:
  keyreeve webhook resume stripe";

const RM: &str = "\
Examples:
  keyreeve webhook rm stripe

Events that wait are dead: another source of that name would not get them.";

const ROTATE: &str = "\
Examples:
  keyreeve webhook rotate-secret stripe
  keyreeve webhook rotate-secret stripe --overlap 2h

Until the overlap ends events have a signature with each of the two, so that the app can change
over. The sender's own secret is changed by putting a new version of it into the vault: the current
one and the one before are both good.";

const EVENTS: &str = "\
Examples:
  keyreeve webhook events
  keyreeve webhook events --source stripe --state dead
  keyreeve webhook events --limit 20 --format json";

const REPLAY: &str = "\
Examples:
  keyreeve webhook replay whe_0193a5c4e1d20123456789abcdef
  keyreeve webhook replay --source stripe --state dead

The app gets the event again under the same webhook-id, from the first attempt on.";

const TAIL: &str = "\
Examples:
  keyreeve webhook tail
  keyreeve webhook tail --source stripe --format json

Ends with Ctrl-C.";

const SCHEMES: &str = "\
Examples:
  keyreeve webhook schemes
  keyreeve webhook schemes --format json";

const VERIFY: &str = "\
Examples:
  keyreeve webhook verify --scheme stripe --secret-file new.txt --secret-file old.txt --request captured.http
  keyreeve webhook verify --scheme twilio --secret-file token.txt --request captured.json --url https://example.com/hooks/sms
  keyreeve webhook verify --scheme-file acme.toml --secret-file acme.txt --request captured.json --at 1700000000
  keyreeve webhook verify --vectors webhooks.json --format json

A captured request is a file with the bytes of an HTTP/1.1 request, or JSON with `method`, `url`,
`headers` (a value, or a list for a header that stands twice) and `body` (base64) or `text`.
Exit code 1 if it is refused; the reason is printed.";

const SIGN: &str = "\
Examples:
  keyreeve webhook sign --scheme github --secret-file github.txt --url http://localhost:3000/hooks --body-file event.json
  keyreeve webhook sign --scheme stripe --secret-file stripe.txt --url http://localhost:3000/hooks --format json

Prints a line for curl. Where a sender signs nothing and shows a token, that line holds the token.";

/// What to do with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Take webhooks of a sender
    #[command(after_help = ADD)]
    Add(AddArgs),
    /// List the sources
    #[command(after_help = LIST)]
    List,
    /// Show a source, or an event with what came in
    #[command(after_help = SHOW)]
    Show(ShowArgs),
    /// Change a source
    #[command(after_help = UPDATE)]
    Update(UpdateArgs),
    /// Let a source's events wait
    #[command(after_help = PAUSE)]
    Pause(SourceArgs),
    /// Deliver a source's events again
    #[command(after_help = RESUME)]
    Resume(SourceArgs),
    /// Remove a source
    #[command(after_help = RM)]
    Rm(SourceArgs),
    /// Make a new secret that events are signed with for the app
    #[command(after_help = ROTATE)]
    RotateSecret(RotateArgs),
    /// List events
    #[command(after_help = EVENTS)]
    Events(EventsArgs),
    /// Have events delivered again
    #[command(after_help = REPLAY)]
    Replay(ReplayArgs),
    /// Show events as they come in
    #[command(after_help = TAIL)]
    Tail(TailArgs),
    /// List the schemes that are known: how senders prove themselves
    #[command(after_help = SCHEMES)]
    Schemes,
    /// Check a captured request, or a file of test vectors
    #[command(after_help = VERIFY)]
    Verify(VerifyArgs),
    /// Make a request as a sender would, to test your own app
    #[command(after_help = SIGN)]
    Sign(SignArgs),
}

/// How the sender proves itself.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ProofArgs {
    /// A scheme that is known, such as `stripe`; `keyreeve webhook schemes` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) scheme: Option<String>,
    /// A TOML file that describes an HMAC of your own: `header`, `prefix`, `algorithm`, `payload`, …
    #[arg(long, value_name = "FILE", conflicts_with = "scheme")]
    pub(crate) scheme_file: Option<PathBuf>,
    /// The sender signs nothing and shows a token in this header
    #[arg(long, value_name = "NAME", conflicts_with_all = ["scheme", "scheme_file"])]
    pub(crate) in_header: Option<String>,
    /// The sender signs nothing and shows a token in this field of the query
    #[arg(long, value_name = "NAME", conflicts_with_all = ["scheme", "scheme_file", "in_header"])]
    pub(crate) in_query: Option<String>,
    /// The sender signs nothing and shows a token as the last part of the path
    #[arg(long, conflicts_with_all = ["scheme", "scheme_file", "in_header", "in_query"])]
    pub(crate) in_path: bool,
    /// The sender signs nothing and shows `user:password` by basic authentication
    #[arg(long, conflicts_with_all = ["scheme", "scheme_file", "in_header", "in_query", "in_path"])]
    pub(crate) in_basic: bool,
}

/// How the sender proves itself, and its secrets.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SchemeArgs {
    #[command(flatten)]
    pub(crate) proof: ProofArgs,
    /// File with the secret as the sender shows it, `-` for standard input; several while it changes
    #[arg(long = "secret-file", value_name = "FILE", id = "secret_file")]
    pub(crate) secrets: Vec<PathBuf>,
}

/// `keyreeve webhook verify`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["request", "vectors"]))]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,
    /// The captured request
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// A file of test vectors; each case says its scheme, secret and time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scheme", "scheme_file", "in_header", "in_query", "in_path", "in_basic", "secret_file", "url", "at"])]
    pub(crate) vectors: Option<PathBuf>,
    /// The address that the sender was given, where the file does not say it whole
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// When it came in, in seconds of Unix time; now unless given
    #[arg(long, value_name = "SECONDS")]
    pub(crate) at: Option<i64>,
    /// How old or how far ahead it may be, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub(crate) tolerance: Option<u32>,
    /// Where it came from
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) remote_ip: Option<IpAddr>,
    /// A network that it may come from
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow_from: Vec<IpNetwork>,
    /// A topic of Amazon SNS that is yours
    #[arg(long, value_name = "ARN")]
    pub(crate) topic: Vec<String>,
    /// Take Amazon SNS's old signatures with SHA-1
    #[arg(long)]
    pub(crate) allow_sha1: bool,
    /// PEM file of the certificate that signed it (of `paypal` and `aws-sns`); trusted as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// File with what the subscription handshake of Meta has to show
    #[arg(long, value_name = "FILE")]
    pub(crate) handshake_file: Option<PathBuf>,
}

/// `keyreeve webhook sign`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,
    /// Where it goes
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// File with the body, `-` for standard input; a small event unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) body_file: Option<PathBuf>,
    /// What the body is
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub(crate) content_type: String,
    /// The method
    #[arg(long, default_value = "POST")]
    pub(crate) method: String,
    /// Names the event; made up unless given
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// When it is sent, in seconds of Unix time; now unless given
    #[arg(long, value_name = "SECONDS")]
    pub(crate) at: Option<i64>,
}

/// What is decided about a source.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SettingsArgs {
    #[command(flatten)]
    pub(crate) proof: ProofArgs,
    /// The field of the secret, where it has several
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,
    /// Whether the app may be on this machine or in a private network
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_internal: Option<bool>,
    /// Whether events may go without TLS
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_plaintext: Option<bool>,
    /// How old or how far ahead a request may be, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) tolerance: Option<u32>,
    /// A network that requests may come from
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow_from: Vec<String>,
    /// What names an event, where the scheme does not say it: `data.id`, a field, or `header:NAME`
    #[arg(long, value_name = "PLACE")]
    pub(crate) event_id: Option<String>,
    /// The field of the secret with what Meta's subscription has to show
    #[arg(long, value_name = "NAME")]
    pub(crate) handshake_field: Option<String>,
    /// The most bytes of a request's body
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_body: Option<u64>,
    /// How often an event is tried
    #[arg(long, value_name = "COUNT")]
    pub(crate) attempts: Option<u32>,
    /// How long the app may take for an event, in milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) patience: Option<u32>,
    /// How many events may be on their way to the app at once
    #[arg(long, value_name = "COUNT")]
    pub(crate) concurrent: Option<u32>,
    /// Events with the same text there go to the app one after the other: as --event-id, or `*` for all
    #[arg(long, value_name = "PLACE")]
    pub(crate) order_by: Option<String>,
    /// Answer the sender what the app answers, if that comes within so many milliseconds
    #[arg(long, value_name = "MS", conflicts_with = "order_by")]
    pub(crate) answer_within: Option<u32>,
}

/// `keyreeve webhook add`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArgs {
    /// Names it, and its address: /hooks/NAME
    pub(crate) name: String,
    /// The path of the secret to verify with
    #[arg(long = "secret", id = "secret_path", value_name = "PATH")]
    pub(crate) secret: String,
    /// The address that the sender is given
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: String,
    /// Where events go
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// `keyreeve webhook update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its name
    pub(crate) name: String,
    /// Events go to the app in any order
    #[arg(long, conflicts_with = "order_by")]
    pub(crate) no_order_by: bool,
    /// Answer the sender at once
    #[arg(long, conflicts_with = "answer_within")]
    pub(crate) no_answer_within: bool,
    /// The path of the secret to verify with
    #[arg(long = "secret", id = "secret_path", value_name = "PATH")]
    pub(crate) secret: Option<String>,
    /// The address that the sender is given
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Where events go
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// A source.
#[derive(Clone, Debug, Args)]
pub(crate) struct SourceArgs {
    /// Its name
    pub(crate) name: String,
}

/// `keyreeve webhook show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// A source's name, or an event's id, which begins with `whe_`
    #[arg(value_name = "NAME_OR_ID")]
    pub(crate) what: String,
    /// Show what customers sent, too
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// `keyreeve webhook rotate-secret`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RotateArgs {
    /// The source's name
    pub(crate) name: String,
    /// For how long the secret before signs, too
    #[arg(long, value_name = "LENGTH", default_value = "24h")]
    pub(crate) overlap: String,
}

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArgs {
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only those that are `waiting`, `delivered` or `dead`
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
}

/// `keyreeve webhook events`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) page: super::page::PageArgs,
}

/// `keyreeve webhook replay`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["ids", "source", "state"]))]
pub(crate) struct ReplayArgs {
    /// Events
    #[arg(value_name = "ID", conflicts_with_all = ["source", "state"])]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// `keyreeve webhook tail`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TailArgs {
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
}
