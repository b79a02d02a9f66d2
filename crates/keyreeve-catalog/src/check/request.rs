//! Rules of requests: a credential goes to hosts of its provider only, over TLS.

use super::{Findings, is_https, places};
use crate::{
    auth::AuthMethod,
    liveness::{Liveness, Method},
    place::Place,
    provider::{Provider, Proxy},
    template::{Part, Template},
};

pub(super) fn check(provider: &Provider, found: &mut Findings) {
    let root = Place::default();
    if let Some(proxy) = &provider.proxy {
        check_proxy(provider, proxy, &root.key("proxy"), found);
    }
    for (index, auth) in provider.auths.iter().enumerate() {
        if let AuthMethod::OAuth2Client { token_url, .. }
        | AuthMethod::OAuth2Jwt { token_url, .. } = &auth.method
        {
            let place = root.key("auth").at(index).key("token_url");
            address(provider, token_url, &place, found);
        }
    }
    for (index, liveness) in provider.liveness.iter().enumerate() {
        check_liveness(provider, liveness, &root.key("liveness").at(index), found);
    }
    for (index, webhook) in provider.webhooks.iter().enumerate() {
        let place = root.key("webhook").at(index);
        let known = provider.credential(&webhook.secret).is_some();
        found.require(known, &place.key("secret"), "must name a credential");
        let url = &webhook.documentation;
        found.require(is_https(url), &place.key("documentation"), "must begin with https://");
    }
}

fn check_proxy(provider: &Provider, proxy: &Proxy, place: &Place, found: &mut Findings) {
    for (index, cost) in proxy.costs.iter().enumerate() {
        let place = place.key("cost").at(index);
        let (method, path) = cost.route.split_once(' ').unwrap_or_default();
        let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        let is_route = (is_method || method == "*") && path.starts_with('/') && !path.contains('?');
        found.require(
            is_route,
            &place.key("route"),
            "must be a method and a path, such as GET /v1/*",
        );
        found.require(cost.units <= 1_000_000, &place.key("units"), "must be at most 1000000");
    }
    let has_unit = proxy.costs.is_empty() || proxy.cost_unit.is_some();
    found.require(has_unit, place, "must have a `cost_unit` where there are costs");
    found.require(!proxy.base_urls.is_empty(), &place.key("base_urls"), "must have one");
    for (index, host) in proxy.hosts.iter().enumerate() {
        check_host(provider, host, &place.key("hosts").at(index), found);
    }
    for (index, url) in proxy.base_urls.iter().enumerate() {
        address(provider, url, &place.key("base_urls").at(index), found);
    }
    for (index, auth) in proxy.auth.iter().enumerate() {
        let known = provider.auths.iter().any(|known| known.id == *auth);
        found.require(known, &place.key("auth").at(index), "must name an auth");
    }
}

/// A host is exact. A parameter may stand for one label of it, or for a domain from a list; never
/// for all of it, or the credential could be sent anywhere.
fn check_host(provider: &Provider, host: &Template, place: &Place, found: &mut Findings) {
    places(provider, host, place, found);
    let mut fixed = false;
    for part in host.parts() {
        match part {
            Part::Text(text) => {
                let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
                found.require(plain, place, "must be a host name");
                fixed |= text.trim_matches('.').contains('.');
            }
            Part::Place(name) => {
                let mut all = provider.parameters.iter();
                fixed |= all.any(|it| it.id == *name && !it.values.is_empty());
            }
        }
    }
    found.require(fixed, place, "must hold a fixed domain, or a parameter that has `values`");
}

fn check_liveness(provider: &Provider, liveness: &Liveness, place: &Place, found: &mut Findings) {
    let known = provider.credential(&liveness.credential).is_some();
    found.require(known, &place.key("credential"), "must name a credential");
    if let Some(auth) = &liveness.auth {
        let known = provider.auths.iter().any(|known| known.id == *auth);
        found.require(known, &place.key("auth"), "must name an auth");
    }
    let ways = [liveness.none.is_some(), liveness.connect.is_some(), liveness.url.is_some()];
    let one = ways.into_iter().filter(|way| *way).count() == 1;
    found.require(one, place, "must have one of `url`, `connect` and `none`");
    if liveness.none.is_some() {
        return;
    }
    found.require(liveness.auth.is_some(), place, "must name an `auth`");
    let Some(url) = &liveness.url else { return };
    address(provider, url, &place.key("url"), found);
    found.require(liveness.method.is_some(), place, "must have a `method`");
    let fits = liveness.body.is_none() || liveness.method == Some(Method::Post);
    found.require(fits, place, "must have a `body` only with POST");
    let decides = !liveness.live.is_empty() || !liveness.answers.is_empty();
    found.require(decides, place, "must tell what a live answer is");
    for (list, name) in
        [(&liveness.live, "live"), (&liveness.limited, "limited"), (&liveness.dead, "dead")]
    {
        let good = list.iter().all(|status| (200..500).contains(status) && *status != 429);
        found.require(good, &place.key(name), "must be statuses of 200 to 499 without 429");
    }
    for (index, answer) in liveness.answers.iter().enumerate() {
        let place = place.key("answers").at(index);
        let pointer = answer.pointer.is_empty() || answer.pointer.starts_with('/');
        found.require(pointer, &place, "pointer must be empty or begin with '/' (RFC 6901)");
        let one = answer.equals.is_some() != answer.contains.is_some();
        found.require(one, &place, "must have `equals` or `contains`, not both");
    }
}

/// An address is https on a host of the provider.
fn address(provider: &Provider, url: &Template, place: &Place, found: &mut Findings) {
    places(provider, url, place, found);
    let Some(rest) = url.as_str().strip_prefix("https://") else {
        found.note(place.clone(), "must begin with https://");
        return;
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = provider.proxy.iter().flat_map(|proxy| &proxy.hosts);
    let known = hosts.into_iter().any(|known| known.as_str().eq_ignore_ascii_case(host));
    found.require(known, place, "must be on a host of `proxy.hosts`");
}
