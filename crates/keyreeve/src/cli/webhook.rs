//! `keyreeve webhook`.

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use keyreeve_core::restriction::IpNetwork;

/// Examples of `webhook`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve webhook schemes
  keyreeve webhook verify --scheme stripe --secret-file stripe.txt --request captured.http
  keyreeve webhook sign --scheme github --secret-file github.txt --url http://localhost:3000/hooks

These work on files alone; no server is asked.";

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
pub(crate) struct SchemeArgs {
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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scheme", "scheme_file", "in_header", "in_query", "secret_file", "url", "at"])]
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
