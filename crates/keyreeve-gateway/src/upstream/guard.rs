//! Which addresses may be dialled: an attacker who chooses a name, or answers for one, must not reach
//! what only this machine can.

use std::net::{IpAddr, SocketAddr};

use keyreeve_core::egress::{Reach, reach};

/// Why an address is not dialled. Its words are for logs, not for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    #[error("the name has no address")]
    NoAddress,
    #[error("{0} is of this machine or a private network, which the connection does not allow")]
    Internal(IpAddr),
    #[error("{0} is never called: it gives out credentials of machines, or is no host's address")]
    Never(IpAddr),
    #[error("{0} is where this very server listens")]
    Self_(SocketAddr),
}

/// All addresses of a name, if every one of them may be dialled. One bad one spoils all: whoever could
/// add it could make it the next one, too.
pub(crate) fn check(
    addresses: Vec<SocketAddr>,
    allow_internal: bool,
) -> Result<Vec<SocketAddr>, Forbidden> {
    if addresses.is_empty() {
        return Err(Forbidden::NoAddress);
    }
    for address in &addresses {
        match reach(address.ip()) {
            Reach::Public => {}
            Reach::Internal if allow_internal => {}
            Reach::Internal => return Err(Forbidden::Internal(address.ip())),
            Reach::Forbidden => return Err(Forbidden::Never(address.ip())),
        }
    }
    Ok(addresses)
}

/// Whether a connection that was made leads back to this server, by whatever name.
pub(crate) fn check_not_own(
    local: SocketAddr,
    peer: SocketAddr,
    own_ports: &[u16],
) -> Result<(), Forbidden> {
    // A connection to one of the machine's own addresses comes from that address.
    let same_machine = peer.ip() == local.ip() || peer.ip().is_loopback();
    if same_machine && own_ports.contains(&peer.port()) {
        return Err(Forbidden::Self_(peer));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn every_address_of_a_name_is_looked_at() {
        assert!(check(addresses(&["93.184.215.14:443", "[2606:2800::1]:443"]), false).is_ok());
        let mixed = addresses(&["93.184.215.14:443", "127.0.0.1:443"]);
        assert!(matches!(check(mixed.clone(), false), Err(Forbidden::Internal(_))));
        assert!(check(mixed, true).is_ok());
        let metadata = addresses(&["169.254.169.254:80"]);
        assert!(matches!(check(metadata, true), Err(Forbidden::Never(_))));
        assert_eq!(check(Vec::new(), true), Err(Forbidden::NoAddress));
    }

    #[test]
    fn the_server_does_not_call_itself() {
        let [one, other] = ["10.0.0.5:41000", "10.0.0.5:7420"].map(|it| it.parse().unwrap());
        assert!(check_not_own(one, other, &[7420]).is_err());
        assert!(check_not_own(one, other, &[7421]).is_ok());
        let far = "10.0.0.6:7420".parse().unwrap();
        assert!(check_not_own(one, far, &[7420]).is_ok());
    }
}
