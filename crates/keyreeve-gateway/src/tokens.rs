//! Access tokens, for services that take nothing lasting: minted with a credential when they are needed,
//! used until they end, and shown to no caller.
//!
//! One mints and the others wait for it. From 80 % of its life on one of its users has the token minted
//! anew while all of them go on with the old one, until it ends at the latest. An issuer that fails is
//! left alone for a second. What is sent to issuers goes the same guarded way as calls do.

mod answer;
mod assertion;
mod issuer;
mod not_minted;
mod slot;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyreeve_core::name::ProjectName;
use keyreeve_engine::{
    Clock, Engine,
    connections::{Connection, Credential, Place, PlaceRef},
    vault::VaultState,
};
use papaya::HashMap;
use tokio::{sync::OwnedMutexGuard, task::JoinHandle, time::Instant};

use self::{
    issuer::Issuer,
    slot::{Found, Slot},
};
pub(crate) use self::{
    not_minted::{Failure, NotMinted},
    slot::Minted,
};
use crate::upstream::Dialer;

/// Connections whose tokens are kept.
const MOST: usize = 10_000;
/// How often tokens are looked for that nobody needs any more.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

type Minting = JoinHandle<Result<Arc<Minted>, NotMinted>>;

/// Tokens that were minted, and whoever mints them.
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    issuer: Issuer,
    /// One for each connection. A version that takes the place of another begins anew.
    slots: HashMap<Place, Arc<Slot>>,
    is_swept: AtomicBool,
}

impl Tokens {
    pub(crate) fn new(engine: Arc<Engine>, clock: Arc<dyn Clock>, dialer: Arc<Dialer>) -> Self {
        Self(Arc::new(Inner {
            engine,
            issuer: Issuer { dialer, clock },
            slots: HashMap::new(),
            is_swept: AtomicBool::new(false),
        }))
    }

    /// The token that calls of a connection go out with, if its credential is one that tokens are minted
    /// with. Waits only where there is none.
    pub(crate) async fn bearer(
        &self,
        project: &ProjectName,
        connection: &Arc<Connection>,
        credential: &Arc<Credential>,
    ) -> Result<Arc<Minted>, Failure> {
        let slot = self.slot(project, connection, credential);
        let mut turn = None;
        loop {
            match slot.find(Instant::now()) {
                Found::Good(minted) => return Ok(minted),
                Found::Ageing(minted) => {
                    self.renew(&slot);
                    return Ok(minted);
                }
                Found::Failed(why) => return Err(Failure { why, is_new: false }),
                Found::Nothing => match turn.take() {
                    None => turn = Some(slot.turn.clone().lock_owned().await),
                    // It is this caller's turn, and still there is nothing.
                    Some(turn) => {
                        let minted = self.mint(&slot, turn, false).await;
                        let minted = minted.unwrap_or(Err(NotMinted::Internal));
                        return minted.map_err(|why| Failure { why, is_new: true });
                    }
                },
            }
        }
    }

    /// Another token in the place of one that the service refused; `None` if there is none to be had, or
    /// if one was minted for that reason just before. The one that was refused stays until then: it may
    /// be good for other calls.
    pub(crate) async fn another(
        &self,
        project: &ProjectName,
        connection: &Arc<Connection>,
        credential: &Arc<Credential>,
        refused: &Arc<Minted>,
    ) -> Option<Arc<Minted>> {
        let slot = self.slot(project, connection, credential);
        let turn = slot.turn.clone().lock_owned().await;
        let now = Instant::now();
        // Somebody else was faster.
        if let Some(other) = slot.other_than(refused, now) {
            return Some(other);
        }
        if !slot.may_replace(now) {
            return None;
        }
        self.mint(&slot, turn, true).await.ok()?.ok()
    }

    /// A token that is minted now and kept for nobody.
    pub(crate) async fn fresh(
        &self,
        connection: &Arc<Connection>,
        credential: &Arc<Credential>,
    ) -> Result<Arc<Minted>, NotMinted> {
        let slot = Slot::new(connection.clone(), credential.clone());
        self.0.issuer.mint(&slot).await.map(Arc::new)
    }

    /// Has a token minted that takes the place of one that ages, unless somebody is at it.
    fn renew(&self, slot: &Arc<Slot>) {
        let Ok(turn) = slot.turn.clone().try_lock_owned() else { return };
        // Between looking and taking the turn another one may have done it.
        if matches!(slot.find(Instant::now()), Found::Ageing(_)) {
            self.mint(slot, turn, false);
        }
    }

    /// Mints in a task of its own: whoever waits for it may go away, and the others still need it.
    fn mint(&self, slot: &Arc<Slot>, turn: OwnedMutexGuard<()>, is_for_refused: bool) -> Minting {
        let (inner, slot) = (self.0.clone(), slot.clone());
        tokio::spawn(async move {
            let minted = inner.issuer.mint(&slot).await.map(Arc::new);
            slot.settle(&minted, is_for_refused, Instant::now());
            drop(turn);
            minted
        })
    }

    fn slot(
        &self,
        project: &ProjectName,
        connection: &Arc<Connection>,
        credential: &Arc<Credential>,
    ) -> Arc<Slot> {
        let slots = self.0.slots.pin();
        let place = PlaceRef(project, &connection.name);
        if let Some(slot) = slots.get(&place).filter(|slot| slot.is_for(connection, credential)) {
            return slot.clone();
        }
        if !self.0.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep_now_and_then(Arc::downgrade(&self.0)));
        }
        if slots.len() >= MOST {
            slots.clear();
        }
        loop {
            // Of calls that come at once, all have the slot of the first one.
            let fresh = || Arc::new(Slot::new(connection.clone(), credential.clone()));
            let slot = slots.get_or_insert_with((project.clone(), connection.name.clone()), fresh);
            if slot.is_for(connection, credential) {
                return slot.clone();
            }
            let _ = slots.remove_if(&place, |_, old| Arc::ptr_eq(old, slot));
        }
    }
}

impl Inner {
    /// Lets go of what nobody needs: tokens that ended, and all of them when the vault is sealed, as
    /// they were minted with what is locked away then.
    fn sweep(&self, now: Instant) {
        let is_open = matches!(self.engine.vault_state(), VaultState::Open { .. });
        self.slots.pin().retain(|_, slot| is_open && slot.is_needed(now));
    }
}

/// Goes on for as long as there is a proxy.
async fn sweep_now_and_then(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.sweep(Instant::now());
    }
}
