//! The token of one connection: how old it is, and who mints the next one.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderValue;
use keyreeve_core::{Secret, egress::ScrubSet};
use keyreeve_engine::connections::{Connection, Credential, Injection};
use tokio::{sync::Mutex, time::Instant};

use super::NotMinted;

/// For how long an issuer that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a token is minted because the service refused the last one. A service that refuses every
/// token would have one minted for each call.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// A token that was minted.
pub(crate) struct Minted {
    /// `Bearer …` (RFC 6750 §2.1), as the header has it. It is neither shown nor kept by the compression
    /// of HTTP/2.
    pub(crate) authorization: HeaderValue,
    /// What is taken out of answers: the token, and what it was minted with.
    pub(crate) scrub: Arc<ScrubSet>,
    /// From when on the next one is to be had.
    pub(super) renew_at: Instant,
    /// When the service takes it no more.
    pub(super) expires_at: Instant,
}

/// What there is to call with.
pub(super) enum Found {
    /// A token.
    Good(Arc<Minted>),
    /// A token that ends before long: whoever finds it has the next one minted.
    Ageing(Arc<Minted>),
    /// No token, and the issuer failed just before.
    Failed(NotMinted),
    /// No token.
    Nothing,
}

/// The token of one connection.
pub(super) struct Slot {
    pub(super) connection: Arc<Connection>,
    /// What tokens are minted with.
    pub(super) credential: Arc<Credential>,
    /// Written only by whoever has the turn.
    state: ArcSwap<State>,
    /// Held by the one that mints.
    pub(super) turn: Arc<Mutex<()>>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Minted>>,
    failed: Option<(Instant, NotMinted)>,
    /// When a token was last minted because the service refused the one before.
    refused_at: Option<Instant>,
}

impl Slot {
    pub(super) fn new(connection: Arc<Connection>, credential: Arc<Credential>) -> Self {
        Self { connection, credential, state: ArcSwap::default(), turn: Arc::default() }
    }

    /// Whether its tokens are minted with this credential and in the way the connection has it now. Calls
    /// that come at once after a change may bring copies of the same credential.
    pub(super) fn is_for(&self, connection: &Connection, credential: &Arc<Credential>) -> bool {
        Arc::ptr_eq(&self.credential, credential)
            || (self.credential.version == credential.version
                && self.connection.settings == connection.settings
                && is_same(&self.credential.injection, &credential.injection))
    }

    pub(super) fn find(&self, now: Instant) -> Found {
        self.state.load().find(now)
    }

    /// A token that is good and is not the one that was refused.
    pub(super) fn other_than(&self, refused: &Arc<Minted>, now: Instant) -> Option<Arc<Minted>> {
        let state = self.state.load();
        let other = state.token.as_ref().filter(|token| now < token.expires_at);
        other.filter(|token| !Arc::ptr_eq(token, refused)).cloned()
    }

    /// Whether a token that was refused may be replaced now.
    pub(super) fn may_replace(&self, now: Instant) -> bool {
        let state = self.state.load();
        let is_again = state.refused_at.is_some_and(|at| now < at + REFUSED_PAUSE);
        !is_again && state.failure(now).is_none()
    }

    /// Takes down what came of minting. Only for whoever has the turn.
    pub(super) fn settle(
        &self,
        minted: &Result<Arc<Minted>, NotMinted>,
        is_for_refused: bool,
        now: Instant,
    ) {
        let old = self.state.load_full();
        let refused_at = if is_for_refused { Some(now) } else { old.refused_at };
        let state = match minted {
            Ok(minted) => State { token: Some(minted.clone()), failed: None, refused_at },
            // The one that there is goes on until it ends.
            Err(why) => State { token: old.token.clone(), failed: Some((now, *why)), refused_at },
        };
        self.state.store(Arc::new(state));
    }

    /// Whether there is anything in it that somebody could use or waits for.
    pub(super) fn is_needed(&self, now: Instant) -> bool {
        let state = self.state.load();
        let is_minting = self.turn.try_lock().is_err();
        is_minting || state.token.as_ref().is_some_and(|token| now < token.expires_at)
    }
}

impl State {
    fn find(&self, now: Instant) -> Found {
        let failure = self.failure(now);
        match &self.token {
            Some(token) if now < token.renew_at => Found::Good(token.clone()),
            Some(token) if now < token.expires_at => match failure {
                Some(_) => Found::Good(token.clone()),
                None => Found::Ageing(token.clone()),
            },
            _ => failure.map_or(Found::Nothing, Found::Failed),
        }
    }

    /// What went wrong just before.
    fn failure(&self, now: Instant) -> Option<NotMinted> {
        self.failed.filter(|(at, _)| now < *at + PAUSE).map(|(_, why)| why)
    }
}

/// How long after it was asked for a token of this life is minted anew: 80 %.
pub(super) fn renew_after(life: Duration) -> Duration {
    life * 4 / 5
}

/// Whether two credentials are shown to the same issuer as the same client. What their kinds have besides
/// stands in the connection's settings.
fn is_same(one: &Injection, other: &Injection) -> bool {
    let (Some((url, values)), Some((other_url, others))) = (shown(one), shown(other)) else {
        return false;
    };
    // EXPOSE: compared.
    let same = values.iter().zip(others).all(|(it, other)| it.matches(other.expose().as_bytes()));
    url == other_url && same
}

/// Where a credential is shown for a token, and what of it.
fn shown(injection: &Injection) -> Option<(&str, [&Secret<String>; 2])> {
    match injection {
        Injection::OAuth2Client { token_url, client_id, client_secret, .. } => {
            Some((token_url, [client_id, client_secret]))
        }
        Injection::OAuth2Jwt { token_url, service_account, .. } => {
            Some((token_url, [service_account, service_account]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(100);

    fn minted(at: Instant) -> Arc<Minted> {
        Arc::new(Minted {
            authorization: HeaderValue::from_static("Bearer x"),
            scrub: Arc::new(ScrubSet::new(std::iter::empty()).unwrap()),
            renew_at: at + renew_after(LIFE),
            expires_at: at + LIFE,
        })
    }

    fn kind(found: &Found) -> &'static str {
        match found {
            Found::Good(_) => "good",
            Found::Ageing(_) => "ageing",
            Found::Failed(_) => "failed",
            Found::Nothing => "nothing",
        }
    }

    #[test]
    fn a_token_is_minted_anew_at_four_fifths_of_its_life() {
        for (life, after) in [(100, 80), (3_600, 2_880), (5, 4), (0, 0)] {
            let life = Duration::from_secs(life);
            assert_eq!(renew_after(life), Duration::from_secs(after));
        }
        assert_eq!(renew_after(Duration::from_secs(1)), Duration::from_millis(800));
    }

    #[test]
    fn a_token_is_good_then_ages_then_ends() {
        let begin = Instant::now();
        let state = State { token: Some(minted(begin)), ..State::default() };
        for (seconds, expected) in [(0, "good"), (79, "good"), (80, "ageing"), (99, "ageing")] {
            assert_eq!(kind(&state.find(begin + Duration::from_secs(seconds))), expected);
        }
        assert_eq!(kind(&state.find(begin + LIFE)), "nothing");
        assert_eq!(kind(&State::default().find(begin)), "nothing");
    }

    #[test]
    fn an_issuer_that_failed_is_left_alone_for_a_while() {
        let begin = Instant::now();
        let failed = Some((begin, NotMinted::Unreachable));
        let empty = State { failed, ..State::default() };
        assert_eq!(kind(&empty.find(begin)), "failed");
        assert_eq!(kind(&empty.find(begin + PAUSE)), "nothing");
        // What there is goes on, and is not renewed by each call.
        let ended = begin + LIFE;
        let failed = Some((ended - Duration::from_millis(500), NotMinted::Unreachable));
        let state = State { token: Some(minted(begin)), failed, ..State::default() };
        assert_eq!(kind(&state.find(ended - Duration::from_millis(1))), "good");
        assert_eq!(kind(&state.find(ended)), "failed");
        assert_eq!(kind(&state.find(ended + PAUSE)), "nothing");
    }
}
