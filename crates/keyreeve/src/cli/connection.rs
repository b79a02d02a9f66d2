//! `keyreeve connection`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use keyreeve_api::CallCostView;
use keyreeve_core::duration;
use serde_json::{Value, json};

use super::policy::RestrictionArgs;

/// Examples of `connection`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve connection add stripe --secret production/stripe
  keyreeve key create --name shop --role client --connection stripe
  keyreeve connection usage";

const ADD: &str = "\
Examples:
  keyreeve connection add stripe --secret production/stripe
  keyreeve connection add maps --provider google-api --secret production/maps --origin https://app.example.com
  keyreeve connection add echo --base-url http://127.0.0.1:9000 --allow-internal --allow-plaintext --secret production/echo --inject 'header:Authorization=Bearer {token}'

How the credential gets into a request, with {field} for a field of the secret; header, query, cookie, form and json can be repeated:
- bearer={token}, basic={user}:{password}, header:NAME=TEMPLATE
- query:NAME=TEMPLATE, cookie:NAME=TEMPLATE, path=/bot{token}
- form:NAME=TEMPLATE, json:/POINTER=TEMPLATE
- sigv4={access_key_id}:{secret_access_key}, for AWS
- a JSON object: a table as [[auth]] of the catalogue has it";

const LIST: &str = "\
Examples:
  keyreeve connection list";

const SHOW: &str = "\
Examples:
  keyreeve connection show stripe";

const UPDATE: &str = "\
Examples:
  keyreeve connection update stripe --secret production/stripe-eu
  keyreeve connection update maps --rate 100/s --rate-per-client 10/s
  keyreeve connection update maps --cost 'GET /maps/api/geocode/*=5' --spend-per-client 2000/1d";

const SWITCH: &str = "\
Examples:
  keyreeve connection disable stripe
  keyreeve connection enable stripe";

const REMOVE: &str = "\
Examples:
  keyreeve connection rm stripe";

const USAGE: &str = "\
Examples:
  keyreeve connection usage
  keyreeve connection usage --from 2026-11-01 --format json";

const CALLS: &str = "\
Examples:
  keyreeve connection calls
  keyreeve connection calls --limit 1000 --format json";

const CUT: &str = "\
Examples:
  keyreeve connection cut

To let no new calls through, disable the connection first.";

const TEST: &str = "\
Examples:
  keyreeve connection test stripe
  keyreeve connection test echo --path /status
  keyreeve connection test --secret production/bank --parameter host=sftp.bank.example
  keyreeve connection test --secret production/database --provider postgres --allow-internal
  keyreeve connection test --secret production/mail --provider smtp --parameter host=mail.example.com

One request or one sign-in is made, and never repeated: services lock accounts that are tried too often. Of SFTP, the server must show the pinned key (host_key, SHA256:...) before anything is sent. Ends with 1 if the credential is refused or the service does not tell.";

const TOKEN: &str = "\
Examples:
  keyreeve connection token --connection maps --origin https://app.example.com --expires-in 10m

It is made with an API key, in KEYREEVE_TOKEN: its end is the token's end.";

const TOKENS: &str = "\
Examples:
  keyreeve connection tokens";

const REVOKE_TOKEN: &str = "\
Examples:
  keyreeve connection revoke-token 0190f3c2a7e14c5d8b6a9e7f10c2d3e4";

/// What to do with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionCommand {
    /// Make a connection: an outside service, called with a secret that its callers never see
    #[command(after_help = ADD)]
    Add(Box<AddArgs>),
    /// List connections
    #[command(after_help = LIST)]
    List,
    /// Show a connection
    #[command(after_help = SHOW)]
    Show(NameArgs),
    /// Change a connection; what is not named stays as it is
    #[command(after_help = UPDATE)]
    Update(Box<UpdateArgs>),
    /// Ask the service whether a credential is good: of a connection, or a secret for SFTP, PostgreSQL, SMTP or Redis
    #[command(after_help = TEST)]
    Test(TestArgs),
    /// Let no calls through any more
    #[command(after_help = SWITCH)]
    Disable(NameArgs),
    /// Let calls through again
    #[command(after_help = SWITCH)]
    Enable(NameArgs),
    /// Remove a connection
    #[command(after_help = REMOVE)]
    Rm(NameArgs),
    /// End all calls that are going on, streams among them; new ones are taken
    #[command(after_help = CUT)]
    Cut,
    /// Make a token for a client that cannot keep a key, such as a page in a browser
    #[command(after_help = TOKEN)]
    Token(TokenArgs),
    /// List the tokens that are good now
    #[command(after_help = TOKENS)]
    Tokens,
    /// End a token at once
    #[command(after_help = REVOKE_TOKEN)]
    RevokeToken(TokenIdArgs),
    /// Show what was called, by day, connection and client
    #[command(after_help = USAGE)]
    Usage(UsageArgs),
    /// Show single calls, the latest first
    #[command(after_help = CALLS)]
    Calls(CallsArgs),
}

/// A connection.
#[derive(Clone, Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name
    pub(crate) name: String,
}

/// `keyreeve connection add`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArgs {
    /// Its name; a provider of the catalogue if that is no custom connection
    pub(crate) name: String,
    /// The provider in the catalogue, if the connection is called otherwise
    #[arg(long)]
    pub(crate) provider: Option<String>,
    #[command(flatten)]
    pub(crate) fields: FieldArgs,
}

/// `keyreeve connection update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) fields: FieldArgs,
}

/// What can be decided about a connection.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct FieldArgs {
    /// Path of the secret that is the credential
    #[arg(id = "secret_path", long = "secret", value_name = "PATH")]
    pub(crate) secret: Option<String>,
    /// Where calls go; the credential goes to no other host
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// How the credential gets into a request (see below)
    #[arg(long, value_name = "HOW")]
    pub(crate) inject: Vec<String>,
    /// What stands for a place that is no field of the secret; can be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// A field that is nothing secret, so answers may show it; can be repeated
    #[arg(long = "public", value_name = "FIELD")]
    pub(crate) public: Vec<String>,
    /// Whether the service may be on this machine or in a private network
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_internal: Option<bool>,
    /// Whether the credential may go without TLS
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_plaintext: Option<bool>,
    /// Which paths are taken: lenient ones may hold %2F, // and ;
    #[arg(long, value_name = "RULES", value_parser = ["strict", "lenient"])]
    pub(crate) path_rules: Option<String>,
    /// A key's id, or owner:ID, that may call, and no others; can be repeated
    #[arg(long = "client", value_name = "CLIENT")]
    pub(crate) clients: Vec<String>,
    /// Calls of all clients together, such as 100/s
    #[arg(long, value_name = "RATE", help_heading = "What bounds it")]
    pub(crate) rate: Option<String>,
    /// Calls of each client
    #[arg(long, value_name = "RATE", help_heading = "What bounds it")]
    pub(crate) rate_per_client: Option<String>,
    /// What calls cost, in units, such as 'GET /v1/geocode/*=5'; others cost 1; can be repeated
    #[arg(long = "cost", value_name = "ROUTE=UNITS", value_parser = cost, help_heading = "What bounds it")]
    pub(crate) costs: Vec<CallCostView>,
    /// Units that all clients together may spend, such as 5000/1d
    #[arg(long, value_name = "RATE", help_heading = "What bounds it")]
    pub(crate) spend: Option<String>,
    /// Units that each client may spend
    #[arg(long, value_name = "RATE", help_heading = "What bounds it")]
    pub(crate) spend_per_client: Option<String>,
    /// Calls at once
    #[arg(long, value_name = "N", help_heading = "What bounds it")]
    pub(crate) concurrency: Option<u32>,
    /// The most bytes of a request's body
    #[arg(long, value_name = "BYTES", help_heading = "What bounds it")]
    pub(crate) max_request_bytes: Option<u64>,
    /// The most bytes of an answer's body
    #[arg(long, value_name = "BYTES", help_heading = "What bounds it")]
    pub(crate) max_response_bytes: Option<u64>,
    /// How long the service may take to begin its answer, in milliseconds
    #[arg(long, value_name = "MS", help_heading = "What bounds it")]
    pub(crate) first_byte_ms: Option<u32>,
    /// How long nothing may come, in milliseconds
    #[arg(long, value_name = "MS", help_heading = "What bounds it")]
    pub(crate) idle_ms: Option<u32>,
    /// Call whose answers are kept, such as 'GET /v1/tiles/*'; can be repeated
    #[arg(long = "cache-route", value_name = "ROUTE", requires = "cache_for")]
    #[arg(help_heading = "What is kept")]
    pub(crate) cache_routes: Vec<String>,
    /// For how long answers are kept at most, such as 1h
    #[arg(long, value_name = "LENGTH", requires = "cache_routes", value_parser = seconds)]
    #[arg(help_heading = "What is kept")]
    pub(crate) cache_for: Option<u32>,
    /// Give kept answers to every client, not only to the one that asked
    #[arg(long, requires = "cache_for", help_heading = "What is kept")]
    pub(crate) cache_for_all: bool,
    #[command(flatten)]
    pub(crate) restrictions: RestrictionArgs,
}

/// What calls of a route cost.
fn cost(text: &str) -> Result<CallCostView, String> {
    let (route, units) = text.rsplit_once('=').ok_or("must be ROUTE=UNITS")?;
    let units = units.parse().map_err(|_| "must end with a number of units")?;
    Ok(CallCostView { route: route.to_owned(), units })
}

/// A length of time in whole seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let length = duration::parse(text).map_err(|rule| rule.rule().to_owned())?;
    u32::try_from(length.as_secs()).map_err(|_| "must be at most 30d".to_owned())
}

/// `keyreeve connection test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestArgs {
    /// The connection
    #[arg(required_unless_present = "secret_path", conflicts_with = "secret_path")]
    pub(crate) name: Option<String>,
    /// What to GET behind the connection's address; the catalogue says it if not given
    #[arg(long, value_name = "PATH", conflicts_with = "secret_path")]
    pub(crate) path: Option<String>,
    /// Path of a secret for a service that speaks no HTTP
    #[arg(id = "secret_path", long = "secret", value_name = "PATH")]
    pub(crate) secret: Option<String>,
    /// Whose secret it is: sftp, postgres, smtp or redis, if that is not known
    #[arg(long, requires = "secret_path")]
    pub(crate) provider: Option<String>,
    /// What stands for a field that the secret does not have, such as host=...; can be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", requires = "secret_path")]
    pub(crate) parameters: Vec<String>,
    /// Let the service be on this machine or in a private network
    #[arg(long, requires = "secret_path")]
    pub(crate) allow_internal: bool,
    /// Let the credential go without TLS
    #[arg(long, requires = "secret_path")]
    pub(crate) allow_plaintext: bool,
}

/// `keyreeve connection token`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenArgs {
    /// Connection it may call through; can be repeated
    #[arg(long = "connection", value_name = "NAME", required = true)]
    pub(crate) connections: Vec<String>,
    /// Call it may make, such as 'GET /v1/*'; can be repeated
    #[arg(long = "route", value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
    /// The only page that may use it
    #[arg(long)]
    pub(crate) origin: Option<String>,
    /// The only address that may use it
    #[arg(long)]
    pub(crate) ip: Option<String>,
    /// How long it lives, at most 1h
    #[arg(long, value_name = "LENGTH", default_value = "10m")]
    pub(crate) expires_in: String,
}

/// A token.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenIdArgs {
    /// Its id
    pub(crate) id: String,
}

/// `keyreeve connection usage`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UsageArgs {
    /// The first day; 30 days ago if not given
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) from: Option<String>,
}

/// `keyreeve connection calls`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CallsArgs {
    /// At most so many, 1 to 1000
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
}

impl FieldArgs {
    /// How the credential gets into a request, as the catalogue's tables have it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or what was typed does not go together.
    pub(crate) fn inject(&self) -> anyhow::Result<Option<Value>> {
        let Some(first) = self.inject.first() else { return Ok(None) };
        if first.trim_start().starts_with('{')
            && self.inject.len() == 1
            && first.contains("\"kind\"")
        {
            return Ok(Some(serde_json::from_str(first).context("--inject is no JSON object")?));
        }
        let mut kinds = self.inject.iter().map(|text| injection(text));
        let mut table = kinds.next().transpose()?.unwrap_or_default();
        for more in kinds {
            merge(&mut table, more?)?;
        }
        Ok(Some(table))
    }

    /// The parameters by name.
    ///
    /// # Errors
    ///
    /// One has no `=`.
    pub(crate) fn parameters(&self) -> anyhow::Result<Option<BTreeMap<String, String>>> {
        pairs(&self.parameters)
    }
}

/// Parameters by name; `None` if there are none.
///
/// # Errors
///
/// One has no `=`.
pub(crate) fn pairs(texts: &[String]) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').context("--parameter must be NAME=VALUE")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let pairs = texts.iter().map(pair).collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    Ok(Some(pairs).filter(|pairs| !pairs.is_empty()))
}

/// One way to put a credential in, such as `header:Authorization=Bearer {token}`.
fn injection(text: &str) -> anyhow::Result<Value> {
    let bad = || "--inject must be such as 'bearer={token}' or 'header:NAME=TEMPLATE': see --help";
    let (how, template) = text.split_once('=').with_context(bad)?;
    let (kind, name) = how.split_once(':').map_or((how, None), |(kind, name)| (kind, Some(name)));
    let pair = || {
        template
            .split_once(':')
            .with_context(|| format!("{kind} must be such as {kind}={{a}}:{{b}}"))
    };
    Ok(match (kind, name) {
        ("bearer", None) => json!({"kind": "bearer", "token": template}),
        ("basic", None) => {
            let (user, password) = pair()?;
            json!({"kind": "basic", "user": user, "password": password})
        }
        ("sigv4", None) => {
            let (id, secret) = pair()?;
            json!({"kind": "aws_sigv4", "access_key_id": id, "secret_access_key": secret})
        }
        ("path", None) => json!({"kind": "path", "prefix": template}),
        ("header", Some(name)) => json!({"kind": "headers", "headers": {name: template}}),
        ("query", Some(name)) => json!({"kind": "query", "parameters": {name: template}}),
        ("cookie", Some(name)) => json!({"kind": "cookie", "cookies": {name: template}}),
        ("form", Some(name)) => json!({"kind": "form", "fields": {name: template}}),
        ("json", Some(name)) => json!({"kind": "json", "pointers": {name: template}}),
        _ => bail!(bad()),
    })
}

/// Adds what another way of the same kind names.
fn merge(table: &mut Value, more: Value) -> anyhow::Result<()> {
    if table["kind"] != more["kind"] {
        bail!("--inject can be repeated only with the same kind");
    }
    let (Value::Object(members), Value::Object(more)) = (table, more) else { return Ok(()) };
    for (name, value) in more {
        match (members.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(added)) => known.extend(added),
            (_, _) if name == "kind" => {}
            _ => bail!("--inject of this kind can be given once only"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inject(texts: &[&str]) -> anyhow::Result<Option<Value>> {
        let inject = texts.iter().map(|&text| text.to_owned()).collect();
        FieldArgs { inject, ..FieldArgs::default() }.inject()
    }

    #[test]
    fn ways_to_put_a_credential_in_are_read() {
        let read = |texts: &[&str]| inject(texts).unwrap().unwrap();
        assert_eq!(read(&["bearer={t}"]), json!({"kind": "bearer", "token": "{t}"}));
        assert_eq!(
            read(&["basic={u}:x:y"]),
            json!({"kind": "basic", "user": "{u}", "password": "x:y"})
        );
        assert_eq!(
            read(&["header:A=Bearer {t}", "header:B={u}"]),
            json!({"kind": "headers", "headers": {"A": "Bearer {t}", "B": "{u}"}})
        );
        assert_eq!(read(&["json:/a/b={t}"]), json!({"kind": "json", "pointers": {"/a/b": "{t}"}}));
        assert_eq!(read(&[r#"{"kind":"bearer","token":"{t}"}"#])["kind"], "bearer");
        assert_eq!(inject(&[]).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            &["bearer"][..],
            &["basic={u}"],
            &["header=x"],
            &["brew:x=y"],
            &["bearer={t}", "query:a={t}"],
            &["bearer={t}", "bearer={u}"],
        ] {
            assert!(inject(bad).is_err(), "{bad:?}");
        }
    }
}
