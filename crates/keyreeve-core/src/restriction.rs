//! Where, when and for what a key may be used.
//!
//! A key can be bound to networks, countries, hours of the week, web origins and routes. An empty
//! list binds nothing. A list that binds needs its fact: a request that does not tell its address
//! is refused by a key bound to addresses.

/// Lets serde read and write a type in its text form.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = crate::Invalid;

            fn try_from(text: String) -> Result<Self, crate::Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

mod country;
mod days;
mod host;
mod network;
mod origin;
mod path;
mod route;
mod window;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use country::CountryCode;
pub use network::{IpNetwork, normal};
pub use origin::{OriginPattern, origin_of_referrer};
pub use route::RoutePattern;
pub use window::{Window, Windows};

use crate::Invalid;

const MOST_NETWORKS: usize = 200;
const MOST_ORIGINS: usize = 50;
const MOST_ROUTES: usize = 100;
const MOST_COUNTRIES: usize = 250;

/// All restrictions of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restrictions {
    /// The only networks the key works from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_ips: Vec<IpNetwork>,
    /// Networks the key does not work from, even if they are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_ips: Vec<IpNetwork>,
    /// The only hours the key works in.
    #[serde(skip_serializing_if = "Windows::is_empty")]
    pub windows: Windows,
    /// The only web origins the key works for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginPattern>,
    /// The only requests the key works for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RoutePattern>,
    /// The only countries the key works from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_countries: Vec<CountryCode>,
    /// Countries the key does not work from, even if they are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_countries: Vec<CountryCode>,
}

/// What is known of the request a key came with.
///
/// Has no `Debug`: a query may carry a secret.
#[derive(Clone, Copy, Default)]
pub struct RequestFacts<'a> {
    /// The client's address, proxies already taken off.
    pub ip: Option<IpAddr>,
    /// The country of that address.
    pub country: Country,
    /// The `Origin` header, or the origin part of the `Referer` header.
    pub origin: Option<&'a str>,
    /// The request's method.
    pub method: Option<&'a str>,
    /// The host the request was sent to, with or without a port.
    pub host: Option<&'a str>,
    /// The request's path, with or without a query.
    pub path: Option<&'a str>,
}

/// What is known of a client's country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Country {
    /// Nobody looked it up. A key bound to countries refuses this always.
    #[default]
    NotAsked,
    /// It is this one.
    Known(CountryCode),
    /// There was no address, or the database does not have it.
    Unknown,
    /// There is no database.
    NoDatabase,
}

/// Which kind of restriction a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// The client's address.
    Ip,
    /// The client's country.
    Country,
    /// The time.
    Window,
    /// The web origin.
    Origin,
    /// Method, host or path.
    Route,
}

impl Broken {
    /// All kinds, in the order in which they are asked.
    pub const ALL: [Self; 5] = [Self::Ip, Self::Country, Self::Window, Self::Origin, Self::Route];
}

/// Why a restriction refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Restricted {
    /// The first kind that was broken, in the order of [`Broken`].
    pub broken: Broken,
    /// The reason in words. Says nothing of the request itself.
    pub why: &'static str,
}

impl Restrictions {
    /// Whether the key is bound to nothing.
    pub fn is_empty(&self) -> bool {
        self.allow_ips.is_empty()
            && self.deny_ips.is_empty()
            && self.windows.is_empty()
            && self.origins.is_empty()
            && self.routes.is_empty()
            && !self.needs_country()
    }

    /// Checks what the single values cannot: how many there are, and that nothing is both allowed
    /// and denied. The error comes with the name of the field.
    pub fn check_sizes(&self) -> Result<(), (&'static str, Invalid)> {
        let most = |field, length: usize, most: usize, what| {
            if length > most {
                return Err((
                    field,
                    Invalid::new(format!("must not have more than {most} {what}")),
                ));
            }
            Ok(())
        };
        most("allow_ips", self.allow_ips.len(), MOST_NETWORKS, "networks")?;
        most("deny_ips", self.deny_ips.len(), MOST_NETWORKS, "networks")?;
        most("windows", self.windows.as_slice().len(), window::MOST_WINDOWS, "windows")?;
        most("origins", self.origins.len(), MOST_ORIGINS, "origins")?;
        most("routes", self.routes.len(), MOST_ROUTES, "routes")?;
        most("allow_countries", self.allow_countries.len(), MOST_COUNTRIES, "countries")?;
        most("deny_countries", self.deny_countries.len(), MOST_COUNTRIES, "countries")?;
        if self.deny_ips.iter().any(|network| self.allow_ips.contains(network)) {
            let rule = "must not have a network that allow_ips has too";
            return Err(("deny_ips", Invalid::new(rule)));
        }
        if self.deny_countries.iter().any(|code| self.allow_countries.contains(code)) {
            let rule = "must not have a country that allow_countries has too";
            return Err(("deny_countries", Invalid::new(rule)));
        }
        Ok(())
    }

    /// Whether the check needs the client's country, so that it is looked up only then.
    pub fn needs_country(&self) -> bool {
        !self.allow_countries.is_empty() || !self.deny_countries.is_empty()
    }

    /// Whether a request at that moment keeps to all restrictions, asked in the order of
    /// [`Broken`].
    ///
    /// `fail_open` lets a request pass whose country could not be found out. It concerns nothing
    /// else: any other fact that is missing refuses the request.
    pub fn check(
        &self,
        facts: &RequestFacts<'_>,
        at: Timestamp,
        fail_open: bool,
    ) -> Result<(), Restricted> {
        Broken::ALL.into_iter().try_for_each(|kind| {
            let broken = |why| Restricted { broken: kind, why };
            self.check_kind(kind, facts, at, fail_open).map_err(broken)
        })
    }

    /// As [`Self::check`], for one kind alone.
    pub fn check_kind(
        &self,
        kind: Broken,
        facts: &RequestFacts<'_>,
        at: Timestamp,
        fail_open: bool,
    ) -> Result<(), &'static str> {
        match kind {
            Broken::Ip => self.check_ip(facts.ip),
            Broken::Country => self.check_country(facts.country, fail_open),
            Broken::Window => self.check_window(at),
            Broken::Origin => self.check_origin(facts.origin),
            Broken::Route => self.check_route(facts),
        }
    }

    /// Whether there is any restriction of that kind.
    pub fn has(&self, kind: Broken) -> bool {
        match kind {
            Broken::Ip => !self.allow_ips.is_empty() || !self.deny_ips.is_empty(),
            Broken::Country => self.needs_country(),
            Broken::Window => !self.windows.is_empty(),
            Broken::Origin => !self.origins.is_empty(),
            Broken::Route => !self.routes.is_empty(),
        }
    }

    fn check_ip(&self, ip: Option<IpAddr>) -> Result<(), &'static str> {
        if self.allow_ips.is_empty() && self.deny_ips.is_empty() {
            return Ok(());
        }
        let ip = ip.ok_or("no address was told, and the key is bound to some")?;
        if self.deny_ips.iter().any(|network| network.contains(ip)) {
            return Err("the address is on the deny list");
        }
        if self.allow_ips.is_empty() || self.allow_ips.iter().any(|network| network.contains(ip)) {
            return Ok(());
        }
        Err("the address is not on the allow list")
    }

    fn check_country(&self, country: Country, fail_open: bool) -> Result<(), &'static str> {
        if !self.needs_country() {
            return Ok(());
        }
        match country {
            Country::Known(code) if self.deny_countries.contains(&code) => {
                Err("the country is on the deny list")
            }
            Country::Known(code)
                if self.allow_countries.is_empty() || self.allow_countries.contains(&code) =>
            {
                Ok(())
            }
            Country::Known(_) => Err("the country is not on the allow list"),
            Country::Unknown | Country::NoDatabase if fail_open => Ok(()),
            Country::Unknown => Err("the country of the address is not known"),
            Country::NoDatabase => {
                Err("the key is bound to countries, and there is no database of them")
            }
            Country::NotAsked => Err("the country was not looked up, and the key is bound to some"),
        }
    }

    fn check_window(&self, at: Timestamp) -> Result<(), &'static str> {
        if self.windows.contains(at) {
            Ok(())
        } else {
            Err("the time is outside the key's windows")
        }
    }

    fn check_origin(&self, origin: Option<&str>) -> Result<(), &'static str> {
        if self.origins.is_empty() {
            return Ok(());
        }
        let origin = origin.ok_or("no origin was told, and the key is bound to some")?;
        if self.origins.iter().any(|pattern| pattern.matches(origin)) {
            return Ok(());
        }
        Err("the origin is not one of the key's")
    }

    fn check_route(&self, facts: &RequestFacts<'_>) -> Result<(), &'static str> {
        if self.routes.is_empty() {
            return Ok(());
        }
        let method = facts.method.ok_or("no method was told, and the key is bound to routes")?;
        let path = facts.path.ok_or("no path was told, and the key is bound to routes")?;
        if self.routes.iter().any(|pattern| pattern.matches(method, facts.host, path)) {
            return Ok(());
        }
        Err("the request is none of the key's routes")
    }
}

#[cfg(test)]
mod tests;
