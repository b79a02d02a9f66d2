//! Sign-ins to services that speak no HTTP: what of a secret is the user, the password, the host.

use keyreeve_catalog::Connect;
use keyreeve_core::{Invalid, Secret, egress::HostName};

use super::{Given, url::ServiceUrl};
use crate::FieldError;

/// A sign-in that tells whether a credential is good.
#[derive(Debug)]
pub struct SignIn {
    /// What is spoken.
    pub protocol: Protocol,
    /// With whom.
    pub host: HostName,
    /// On which port.
    pub port: u16,
    /// How the way there is protected.
    pub encryption: Encryption,
    /// Who signs in; empty where the service has one user only.
    pub user: Secret<String>,
    /// The password or the private key.
    pub proof: Secret<String>,
    /// Whether the service may be on this machine or in a private network.
    pub allow_internal: bool,
}

/// What is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL's, version 3.
    Postgres {
        /// The database.
        database: String,
    },
    /// That of Redis and Valkey.
    Redis,
    /// SMTP with AUTH (RFC 4954).
    Smtp,
    /// SSH.
    Ssh {
        /// SHA-256 of the server's key as `ssh-keygen -l` prints it.
        host_key: String,
        /// Whether the proof is a private key.
        by_key: bool,
    },
}

/// How the way to a service is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte on.
    Tls,
    /// TLS once the service was asked for it. It must agree.
    Upgrade,
    /// TLS if the service agrees to it.
    UpgradeOrPlain,
    /// None, or that of the protocol itself.
    Plain,
}

/// What was allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) internal: bool,
    pub(super) plaintext: bool,
}

fn refuse(field: &str, rule: &str) -> FieldError {
    FieldError::new(field, Invalid::new(rule.to_owned()))
}

impl Given<'_> {
    /// What is asked of the service.
    pub(super) fn sign_in(&self, allowed: Allowed) -> Result<SignIn, FieldError> {
        let Some((liveness, protocol)) = self.liveness() else {
            let rule = format!(
                "must hold a credential of {} that can be tested by signing in; an HTTP API is tested by its \
                 connection",
                self.provider.id
            );
            return Err(refuse("secret", &rule));
        };
        match protocol {
            Connect::Postgres => self.postgres(&liveness.credential, allowed),
            Connect::Redis => self.redis(&liveness.credential, allowed),
            Connect::Smtp => self.smtp(allowed),
            Connect::Ssh => self.ssh(&liveness.credential, allowed),
            Connect::Mysql | Connect::Mongodb => Err(refuse(
                "provider",
                "must be one that can be tested: sftp, postgres, smtp, redis",
            )),
        }
    }

    fn postgres(&self, field: &str, allowed: Allowed) -> Result<SignIn, FieldError> {
        let url = ServiceUrl::parse(self.need(field)?).ok_or_else(no_url)?;
        let user = url.user.or_else(|| url.query.get("user").cloned()).unwrap_or_default();
        let password = url.password.or_else(|| url.query.get("password").cloned());
        let database = url.path.trim_matches('/').to_owned();
        let encryption = match url.query.get("sslmode").map(|it| it.as_str()) {
            Some("disable") => plain(allowed)?,
            // The address itself says that it never goes without.
            Some("require" | "verify-ca" | "verify-full") => Encryption::Upgrade,
            _ if allowed.plaintext => Encryption::UpgradeOrPlain,
            _ => Encryption::Upgrade,
        };
        let name = user.to_string();
        Ok(SignIn {
            protocol: Protocol::Postgres {
                database: if database.is_empty() { name.clone() } else { database },
            },
            host: host("secret", &url.host)?,
            port: url.port.unwrap_or(5432),
            encryption,
            user: Secret::new(name),
            proof: Secret::new(password.unwrap_or_default().to_string()),
            allow_internal: allowed.internal,
        })
    }

    fn redis(&self, field: &str, allowed: Allowed) -> Result<SignIn, FieldError> {
        let url = ServiceUrl::parse(self.need(field)?).ok_or_else(no_url)?;
        let is_tls = matches!(url.scheme.as_str(), "rediss" | "valkeys");
        Ok(SignIn {
            protocol: Protocol::Redis,
            host: host("secret", &url.host)?,
            port: url.port.unwrap_or(6379),
            encryption: if is_tls { Encryption::Tls } else { plain(allowed)? },
            user: Secret::new(url.user.unwrap_or_default().to_string()),
            proof: Secret::new(url.password.unwrap_or_default().to_string()),
            allow_internal: allowed.internal,
        })
    }

    fn smtp(&self, allowed: Allowed) -> Result<SignIn, FieldError> {
        let port = self.port(587)?;
        Ok(SignIn {
            protocol: Protocol::Smtp,
            host: host("parameters.host", self.need("host")?)?,
            port,
            // RFC 8314 §7.3: TLS from the first byte on is spoken on this port.
            encryption: match port {
                465 => Encryption::Tls,
                _ if allowed.plaintext => Encryption::UpgradeOrPlain,
                _ => Encryption::Upgrade,
            },
            user: Secret::new(self.need("user")?.to_owned()),
            proof: Secret::new(self.need("password")?.to_owned()),
            allow_internal: allowed.internal,
        })
    }

    fn ssh(&self, field: &str, allowed: Allowed) -> Result<SignIn, FieldError> {
        let host_key = self.need("host_key")?;
        if !host_key.starts_with("SHA256:") {
            let rule = "must be the fingerprint of the server's key: SHA256:…, as `ssh-keygen -lf` prints it";
            return Err(refuse("parameters.host_key", rule));
        }
        Ok(SignIn {
            protocol: Protocol::Ssh {
                host_key: host_key.trim_end_matches('=').to_owned(),
                by_key: field == "private_key",
            },
            host: host("parameters.host", self.need("host")?)?,
            port: self.port(22)?,
            encryption: Encryption::Plain,
            user: Secret::new(self.need("user")?.to_owned()),
            proof: Secret::new(self.need(field)?.to_owned()),
            allow_internal: allowed.internal,
        })
    }

    fn port(&self, usual: u16) -> Result<u16, FieldError> {
        let port = self.find("port").map_or(Ok(usual), str::parse);
        port.ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| refuse("parameters.port", "must be a port: 1 to 65535"))
    }
}

fn no_url() -> FieldError {
    refuse("secret", "must hold an address such as scheme://user:password@host:port/name")
}

fn host(field: &str, text: &str) -> Result<HostName, FieldError> {
    HostName::parse(text).map_err(|rule| FieldError::new(field, rule))
}

fn plain(allowed: Allowed) -> Result<Encryption, FieldError> {
    if allowed.plaintext {
        return Ok(Encryption::Plain);
    }
    let rule = "must be true to send this credential: its address says that it goes without TLS";
    Err(refuse("allow_plaintext", rule))
}
