//! Finds the server: a named address, or the socket in the data folder.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use keyreeve_api::{Client, ClientError, Endpoint, Token};

/// The name of the socket in the data folder.
pub(crate) const SOCKET_NAME: &str = "keyreeve.sock";

/// Why there is no server to talk to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Neither an address nor a socket.
    #[error("no server found: no address is named, and there is no socket {}", .socket.display())]
    NoServer {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The data folder is somebody else's.
    #[error("cannot look for the socket {}", .socket.display())]
    Closed {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address has no form that is safe to read. It is not shown: it may hold a password.
    #[error("the address of the server must begin with http:// or https:// and a host")]
    NotAnAddress,
    /// The address holds a user name or a password.
    #[error("the address of the server must not hold a user name or a password")]
    UserInAddress,
    /// A key would go over a network for all to read.
    #[error("the key would go to {host} in clear text, because the address begins with http://")]
    Plaintext {
        /// Where to.
        host: String,
    },
    /// Over HTTP the key decides the project.
    #[error("a project can be chosen over the local socket only; over HTTP the key decides")]
    ProjectOverHttp,
    /// The client would not have it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl ConnectError {
    /// What to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoServer { .. } => {
                "start one with `keyreeve serve`, or name one with --url (or --data-dir)"
            }
            Self::Closed { .. } => {
                "become the owner of the data folder, or use --url and a key in KEYREEVE_TOKEN"
            }
            Self::NotAnAddress => "write it like https://keys.example.com",
            Self::UserInAddress => "Keyreeve takes a key, in KEYREEVE_TOKEN",
            Self::Plaintext { .. } => {
                "use https://; KEYREEVE_ALLOW_PLAINTEXT=1 allows it where the network is safe"
            }
            Self::ProjectOverHttp => "leave out --project and KEYREEVE_PROJECT, or leave out --url",
            Self::Client(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// What is known about where the server could be.
#[derive(Debug)]
pub(crate) struct Whereabouts<'a> {
    /// A named address.
    pub(crate) url: Option<&'a str>,
    /// The data folder, where a server that runs has its socket.
    pub(crate) data_dir: &'a Path,
    /// The project to act on.
    pub(crate) project: Option<&'a str>,
    /// The key to act with. Without one, the socket acts for its user.
    pub(crate) token: Option<&'a Token>,
    /// Whether a key may go over a network in clear text.
    pub(crate) allow_plaintext: bool,
}

impl Whereabouts<'_> {
    /// A client for the server.
    pub(crate) fn connect(&self) -> Result<Client, ConnectError> {
        let endpoint = self.endpoint()?;
        // Over the socket, too: who sets a key means to act with its rights, which may be less
        // than those of the socket's user. The server takes the key before the user.
        Ok(Client::new(endpoint, self.token, self.project.map(str::to_owned))?)
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let Some(url) = self.url else {
            return self.socket();
        };
        let address = Address::parse(url)?;
        if self.project.is_some() {
            return Err(ConnectError::ProjectOverHttp);
        }
        if self.token.is_some() && !address.is_private() && !self.allow_plaintext {
            return Err(ConnectError::Plaintext { host: address.host.to_owned() });
        }
        Ok(Endpoint::Url(url.to_owned()))
    }

    fn socket(&self) -> Result<Endpoint, ConnectError> {
        let socket = self.data_dir.join(SOCKET_NAME);
        match socket.try_exists() {
            Ok(true) => Ok(Endpoint::Socket(socket)),
            Ok(false) => Err(ConnectError::NoServer { socket }),
            Err(source) => Err(ConnectError::Closed { socket, source }),
        }
    }
}

/// The part of an address that says who will see what is sent there.
struct Address<'a> {
    secure: bool,
    host: &'a str,
}

impl<'a> Address<'a> {
    /// Reads the host the way the HTTP library does. Where URL readers are known to differ (white
    /// space, control characters, backslashes, missing slashes), the address is refused: a host
    /// read wrongly here would be a key sent to the wrong place.
    fn parse(url: &'a str) -> Result<Self, ConnectError> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        let (scheme, rest) = url.split_once("://").ok_or(ConnectError::NotAnAddress)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(ConnectError::NotAnAddress),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if url.contains(odd) || authority.is_empty() {
            return Err(ConnectError::NotAnAddress);
        }
        if authority.contains('@') {
            return Err(ConnectError::UserInAddress);
        }
        let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => authority.split(':').next().unwrap_or_default(),
        };
        Ok(Self { secure, host })
    }

    /// Whether nobody on a network can read along.
    fn is_private(&self) -> bool {
        self.secure
            || self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use keyreeve_core::Secret;

    use super::*;

    fn endpoint(url: &str, token: bool, allow_plaintext: bool) -> Result<Endpoint, ConnectError> {
        let token = token.then(|| Secret::new("kr_live_canary".to_owned()));
        let whereabouts = Whereabouts {
            url: Some(url),
            data_dir: Path::new("nowhere"),
            project: None,
            token: token.as_ref(),
            allow_plaintext,
        };
        whereabouts.endpoint()
    }

    #[test]
    fn a_key_does_not_cross_a_network_in_clear_text() {
        for url in [
            "http://keys.example.com",
            "HTTP://keys.example.com:7420/",
            "http://192.0.2.7",
            "http://[2001:db8::1]:7420",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://0.0.0.0:7420",
        ] {
            let error = endpoint(url, true, false).unwrap_err();
            assert!(matches!(error, ConnectError::Plaintext { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("canary"));
            assert!(endpoint(url, true, true).is_ok(), "{url}");
            assert!(endpoint(url, false, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_key_may_go_over_tls_and_to_this_machine() {
        for url in [
            "https://keys.example.com",
            "http://localhost:7420",
            "http://127.0.0.1:7420/",
            "http://127.8.9.10",
            "http://[::1]:7420",
        ] {
            assert_eq!(endpoint(url, true, false).unwrap(), Endpoint::Url(url.to_owned()));
        }
    }

    #[test]
    fn addresses_that_readers_disagree_on_are_refused() {
        for url in [
            "",
            "localhost:7420",
            "ftp://localhost",
            "http:/localhost",
            "http:///localhost",
            "http:\\\\localhost",
            "http://evil.example\\@localhost",
            " http://localhost",
            "http://local\thost",
        ] {
            let error = endpoint(url, true, true).unwrap_err();
            assert!(matches!(error, ConnectError::NotAnAddress), "{url}");
        }
        let error = endpoint("https://user:canary@localhost", false, false).unwrap_err();
        assert!(matches!(error, ConnectError::UserInAddress));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[test]
    fn without_an_address_the_socket_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let token = Secret::new("kr_live_canary".to_owned());
        let whereabouts = Whereabouts {
            url: None,
            data_dir: folder.path(),
            project: Some("default"),
            token: Some(&token),
            allow_plaintext: false,
        };
        let error = whereabouts.endpoint().unwrap_err();
        assert!(error.to_string().starts_with("no server found"), "{error}");
        let socket = folder.path().join(SOCKET_NAME);
        std::fs::write(&socket, "").unwrap();
        assert_eq!(whereabouts.endpoint().unwrap(), Endpoint::Socket(socket));
    }

    #[test]
    fn a_key_that_is_set_counts_on_the_socket_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SOCKET_NAME), "").unwrap();
        // No header can hold it: that it is refused shows that it would have been sent.
        let token = Secret::new("a\nb".to_owned());
        let whereabouts = Whereabouts {
            url: None,
            data_dir: folder.path(),
            project: None,
            token: Some(&token),
            allow_plaintext: false,
        };
        let error = whereabouts.connect().unwrap_err();
        assert!(matches!(error, ConnectError::Client(ClientError::BadToken)), "{error}");
    }

    #[test]
    fn a_project_is_not_chosen_over_http() {
        let whereabouts = Whereabouts {
            url: Some("https://keys.example.com"),
            data_dir: Path::new("nowhere"),
            project: Some("other"),
            token: None,
            allow_plaintext: false,
        };
        let error = whereabouts.endpoint().unwrap_err();
        assert!(matches!(error, ConnectError::ProjectOverHttp));
    }
}
