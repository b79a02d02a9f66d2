//! The countries of addresses, out of a database file.

use std::{net::IpAddr, path::Path};

use anyhow::Context as _;
use keyreeve_core::restriction::CountryCode;
use keyreeve_engine::Countries;
use maxminddb::{PathElement, Reader};

/// A database in the format of MaxMind, read into memory.
#[derive(Debug)]
pub(crate) struct CountryDatabase(Reader<Vec<u8>>);

impl CountryDatabase {
    /// Reads the file.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let reader = Reader::open_readfile(path).with_context(|| {
            format!(
                "the database of countries {} (geo.database) cannot be read: it must be a file in \
                 the format of MaxMind (.mmdb)",
                path.display()
            )
        })?;
        Ok(Self(reader))
    }
}

impl Countries for CountryDatabase {
    fn country_of(&self, ip: IpAddr) -> Option<CountryCode> {
        // An address that a file cannot tell of, an IPv6 address in a file of IPv4, is unknown.
        let found = self.0.lookup(ip).ok()?;
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let code: &str = found.decode_path(&path).ok()??;
        code.parse().ok()
    }
}
