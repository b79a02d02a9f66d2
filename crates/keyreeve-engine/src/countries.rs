//! Where addresses are.

use std::net::IpAddr;

use keyreeve_core::restriction::CountryCode;

/// Knows the country of an address. The binary brings one that reads a database file.
pub trait Countries: Send + Sync + 'static {
    /// The country; `None` if the address is in none that is known.
    fn country_of(&self, ip: IpAddr) -> Option<CountryCode>;
}
