//! What to do next, where we know it.

use std::io;

use keyreeve_api::{ClientError, Endpoint, ErrorCode, Problem};

use super::Advised;
use crate::{config::ConfigError, connect::ConnectError};

/// Advice for an error, from the first link of its chain that has some.
pub(super) fn find(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|link| {
        if let Some(advised) = link.downcast_ref::<Advised>() {
            return Some(advised.hint.clone());
        }
        if link.is::<ConfigError>() {
            return Some("`keyreeve manual --settings` explains every setting".to_owned());
        }
        if link.downcast_ref::<io::Error>().is_some_and(is_long_socket_path) {
            return Some(
                "the path of a socket may have 107 bytes at most: choose a data folder with a \
                 shorter path"
                    .to_owned(),
            );
        }
        match link.downcast_ref::<ConnectError>() {
            Some(ConnectError::Client(client)) => for_client(client, error),
            Some(connect) => connect.hint(),
            None => for_client(link.downcast_ref()?, error),
        }
    })
}

/// The standard library has no kind of its own for it; the text is all there is to go by.
fn is_long_socket_path(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains("SUN_LEN")
}

fn for_client(client: &ClientError, error: &anyhow::Error) -> Option<String> {
    let hint = match client {
        ClientError::BadUrl(_) => "write it like https://keys.example.com",
        ClientError::BadToken => "KEYREEVE_TOKEN must hold one whole key and nothing else",
        ClientError::Unreachable { endpoint, .. } => unreachable(endpoint, error),
        ClientError::Refused(problem) => return for_problem(problem),
        ClientError::VaultRefused { status: 403, .. } => {
            "the key needs keyreeve.secrets.manage or a policy that is granted to it; for the vault \
             itself, keyreeve.vault.manage"
        }
        ClientError::VaultRefused { status: 503, errors }
            if errors.iter().any(|error| error.contains("sealed")) =>
        {
            "`keyreeve vault status` says what opens it; the server's log, why it is not open"
        }
        ClientError::NotKeyreeve { .. } => {
            "perhaps something else listens there: look at the address and the port"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn unreachable(endpoint: &Endpoint, error: &anyhow::Error) -> &'static str {
    let denied = error.chain().any(|link| {
        let cause: Option<&io::Error> = link.downcast_ref();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
    });
    match endpoint {
        Endpoint::Socket(_) if denied => {
            "only the owner of the data folder may use its socket: become that user, or use --url \
             and a key in KEYREEVE_TOKEN"
        }
        Endpoint::Socket(_) => {
            "the socket is left over from a server that is gone: start one with `keyreeve serve`"
        }
        Endpoint::Url(_) => "start one there with `keyreeve serve`, or name another with --url",
    }
}

fn for_problem(problem: &Problem) -> Option<String> {
    let hint = match ErrorCode::named(&problem.code)? {
        ErrorCode::Unauthenticated => {
            "set KEYREEVE_TOKEN to a key of this server; on its own machine none is needed: leave \
             out --url"
        }
        ErrorCode::InvalidCredential => {
            "the key in KEYREEVE_TOKEN is not one of this server's, or is expired, disabled or \
             revoked: set another, or none on the server's own machine"
        }
        ErrorCode::WebhookNotVerified => {
            "compare the source's secret and public address with the sender's: `keyreeve webhook show NAME`"
        }
        ErrorCode::Forbidden => {
            "use a key with a role that allows it: `keyreeve role list` shows what each grants"
        }
        ErrorCode::Escalation => {
            "grant less, or use a key that has all that it is to grant: see `keyreeve role list`"
        }
        ErrorCode::NotFound => {
            "look for its name with the `list` command beside this one; another project is \
             another world (--project)"
        }
        ErrorCode::AlreadyExists => "take another name, or change it with the `update` command",
        ErrorCode::InUse => "remove what depends on it first",
        ErrorCode::WrongState => "look at its state with the `show` command",
        ErrorCode::ChangedMeanwhile => "look at it again, then repeat the command",
        ErrorCode::IdempotencyResultGone => {
            "a key is shown only once: make or rotate again with another --idempotency-key"
        }
        ErrorCode::IdempotencyMismatch => "use another --idempotency-key for another request",
        ErrorCode::RateLimited => {
            "wait as long as it says; the server's own limits are in the section [limits] of its \
             settings"
        }
        ErrorCode::LockedOut => {
            "wait as long as it says, and look for what sends bad keys from this address; on the \
             server's own machine the socket is still open: leave out --url"
        }
        ErrorCode::VaultSealed => "unseal it with `keyreeve vault unseal`",
        ErrorCode::CredentialUnavailable => {
            "look at the secret that the connection uses: `keyreeve connection show NAME`"
        }
        ErrorCode::Timeout
        | ErrorCode::ServiceTimeout
        | ErrorCode::CircuitOpen
        | ErrorCode::Overloaded
        | ErrorCode::StoreUnavailable
        | ErrorCode::CountsUnavailable => {
            "try again in a moment; if it stays so, `keyreeve doctor` looks for the cause"
        }
        ErrorCode::Internal => {
            let id = &problem.request_id;
            return Some(format!("the log of the server has the details under request {id}"));
        }
        ErrorCode::InvalidRequest
        | ErrorCode::ForbiddenOrigin
        | ErrorCode::ServiceUnreachable
        | ErrorCode::ServiceAnswer
        | ErrorCode::DuplicateHeader
        | ErrorCode::MethodNotAllowed
        | ErrorCode::PayloadTooLarge
        | ErrorCode::UnsupportedMediaType => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn hint_for(error: impl Into<anyhow::Error>) -> Option<String> {
        find(&error.into())
    }

    fn refused(code: ErrorCode) -> ClientError {
        ClientError::Refused(Box::new(Problem::new(code, "r-1")))
    }

    #[test]
    fn refusals_of_the_credential_name_the_variable() {
        for code in [ErrorCode::Unauthenticated, ErrorCode::InvalidCredential] {
            assert!(hint_for(refused(code)).unwrap().contains("KEYREEVE_TOKEN"));
        }
        assert!(hint_for(refused(ErrorCode::Forbidden)).unwrap().contains("keyreeve role list"));
        assert!(hint_for(refused(ErrorCode::Internal)).unwrap().contains("r-1"));
        assert_eq!(hint_for(refused(ErrorCode::InvalidRequest)), None);
    }

    #[test]
    fn no_server_names_both_ways_to_one() {
        let hint = hint_for(ConnectError::NoServer { socket: PathBuf::from("x") }).unwrap();
        assert!(hint.contains("keyreeve serve") && hint.contains("--url"), "{hint}");
    }

    #[test]
    fn a_socket_path_that_is_too_long_is_explained() {
        let path = PathBuf::from("x".repeat(200));
        let error = std::os::unix::net::UnixListener::bind(path).unwrap_err();
        let hint = hint_for(anyhow::Error::from(error).context("cannot listen")).unwrap();
        assert!(hint.contains("107 bytes"), "{hint}");
    }

    #[test]
    fn advice_is_found_below_context() {
        let error = anyhow::Error::from(Advised::new("a", "b")).context("c");
        assert_eq!(find(&error).as_deref(), Some("b"));
        assert_eq!(find(&anyhow::anyhow!("a")), None);
    }
}
