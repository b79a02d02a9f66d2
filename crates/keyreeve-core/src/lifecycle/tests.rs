use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id() -> KeyId {
    KeyId::from_entropy([7; 16])
}

#[derive(Clone, Debug)]
enum Step {
    Disable,
    Enable,
    Rotate(i64),
    FinishRotation,
    Revoke,
    Delete,
    Undelete,
}

fn arb_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Disable),
        Just(Step::Enable),
        (0i64..5_000_000).prop_map(Step::Rotate),
        Just(Step::FinishRotation),
        Just(Step::Revoke),
        Just(Step::Delete),
        Just(Step::Undelete),
    ]
}

fn take(
    lifecycle: Lifecycle,
    step: &Step,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Lifecycle, InvalidTransition> {
    match step {
        Step::Disable => lifecycle.disable(now),
        Step::Enable => lifecycle.enable(),
        Step::Rotate(grace) => {
            lifecycle.rotate(id(), SignedDuration::from_secs(*grace), expires_at, now)
        }
        Step::FinishRotation => lifecycle.finish_rotation(now),
        Step::Revoke => lifecycle.revoke(Some("test".into()), now),
        Step::Delete => lifecycle.delete(now),
        Step::Undelete => lifecycle.undelete(now),
    }
}

/// States in which a key is refused and from which no step leads back, deletion apart.
fn is_refused_for_good(lifecycle: &Lifecycle) -> bool {
    match lifecycle {
        Lifecycle::Revoked { .. } => true,
        Lifecycle::Deleted { was, .. } => is_refused_for_good(was),
        _ => false,
    }
}

proptest! {
    #[test]
    fn revoked_stays_revoked_and_grace_never_outlives_expiry(
        steps in prop::collection::vec((arb_step(), 0i64..4_000_000), 1..30),
        expires_at in prop::option::of(0i64..50_000_000),
    ) {
        let expires_at = expires_at.map(at);
        let mut lifecycle = Lifecycle::Active;
        let mut now = at(0);
        for (step, pause) in steps {
            now = now.saturating_add(SignedDuration::from_secs(pause)).unwrap();
            let gone = is_refused_for_good(&lifecycle);
            if let Ok(next) = take(lifecycle.clone(), &step, expires_at, now) {
                lifecycle = next;
            }
            if gone {
                prop_assert!(is_refused_for_good(&lifecycle), "{step:?} {lifecycle:?}");
            }
            if let (Lifecycle::Rotating { grace_ends_at, .. }, Some(expiry)) =
                (&lifecycle, expires_at)
            {
                prop_assert!(*grace_ends_at <= expiry);
            }
            if expires_at.is_some_and(|expiry| expiry <= now) {
                let state = lifecycle.state(expires_at, now);
                prop_assert!(!matches!(state, KeyState::Active | KeyState::Rotating));
            }
        }
    }

    #[test]
    fn undelete_restores_exactly_what_was(
        steps in prop::collection::vec(arb_step(), 0..10), pause in 0i64..2_592_000,
    ) {
        let mut lifecycle = Lifecycle::Active;
        for step in &steps {
            if let Ok(next) = take(lifecycle.clone(), step, None, at(0)) {
                lifecycle = next;
            }
        }
        if let Ok(deleted) = lifecycle.clone().delete(at(0)) {
            prop_assert_eq!(deleted.undelete(at(pause)).unwrap(), lifecycle);
        }
    }
}

#[test]
fn grace_ends_at_the_exact_moment() {
    let rotating =
        Lifecycle::Active.rotate(id(), SignedDuration::from_secs(2), None, at(10)).unwrap();
    let just_before = at(12).saturating_sub(SignedDuration::from_nanos(1)).unwrap();
    assert_eq!(rotating.state(None, just_before), KeyState::Rotating);
    assert_eq!(rotating.state(None, at(12)), KeyState::Expired);
}

#[test]
fn a_key_rotates_once() {
    let hour = SignedDuration::from_hours(1);
    let rotating = Lifecycle::Active.rotate(id(), hour, None, at(0)).unwrap();
    assert_eq!(
        rotating.clone().rotate(id(), hour, None, at(1)),
        Err(InvalidTransition::Already(KeyState::Rotating))
    );
    let finished = rotating.finish_rotation(at(5)).unwrap();
    assert_eq!(finished.state(None, at(5)), KeyState::Expired);
}

#[test]
fn a_disabled_key_keeps_its_running_grace() {
    let hour = SignedDuration::from_hours(1);
    let rotating = Lifecycle::Active.rotate(id(), hour, None, at(0)).unwrap();
    let back = rotating.clone().disable(at(1)).unwrap().enable().unwrap();
    assert_eq!(back, rotating);
}

#[test]
fn expired_keys_do_not_rotate() {
    let result = Lifecycle::Active.rotate(id(), SignedDuration::ZERO, Some(at(5)), at(5));
    assert_eq!(result, Err(not_from(KeyState::Expired, "rotated")));
}

#[test]
fn purge_waits_for_the_undelete_window() {
    let deleted = Lifecycle::Active.delete(at(0)).unwrap();
    let month = 30 * 86_400;
    assert_eq!(deleted.check_purge(at(month)), Err(InvalidTransition::PurgeTooEarly));
    assert_eq!(deleted.check_purge(at(month + 1)), Ok(()));
    assert_eq!(deleted.undelete(at(month + 1)), Err(InvalidTransition::UndeleteWindowOver));
    assert!(Lifecycle::Active.check_purge(at(0)).is_err());
}
