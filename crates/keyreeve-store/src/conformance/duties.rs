//! Work that must not be done twice.

use std::time::Duration;

use keyreeve_engine::store::{Change, DutyTerm};

use super::{
    harness::{Harness, Outcome},
    samples,
};

const DUTY: &str = "testing";
/// Over before anything else is asked.
const MOMENT: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn terms_are_numbered_by_holder(h: Harness) -> Outcome {
    for (holder, number) in [("a", 1), ("a", 1), ("b", 2), ("a", 3), ("a", 3)] {
        let taken = h.store.take_duty(DUTY, holder, MOMENT).await?;
        assert_eq!(taken, Some(DutyTerm { duty: DUTY, number }), "{holder}");
        tokio::time::sleep(PAUSE).await;
    }
    let other = h.store.take_duty("other", "b", MOMENT).await?;
    assert_eq!(other, Some(DutyTerm { duty: "other", number: 1 }));
    Ok(())
}

pub(super) async fn whoever_lost_a_duty_is_refused(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    let result = samples::result(1, 10);
    h.commit(&acme, vec![Change::RememberResult(result.clone())]).await?;
    let forget = |number| {
        let term = DutyTerm { duty: DUTY, number };
        vec![Change::OnDuty(term), Change::ForgetResultsBefore(samples::time(20))]
    };
    assert_refused!(h.commit(&acme, forget(1)).await, ChangedMeanwhile(Duty));
    h.store.take_duty(DUTY, "a", MOMENT).await?;
    tokio::time::sleep(PAUSE).await;
    h.store.take_duty(DUTY, "b", Duration::from_mins(1)).await?;
    assert_refused!(h.commit(&acme, forget(1)).await, ChangedMeanwhile(Duty));
    assert!(h.store.idempotent_result(&acme, &result.lookup).await?.is_some());
    h.commit(&acme, forget(2)).await?;
    assert_eq!(h.store.idempotent_result(&acme, &result.lookup).await?, None);
    Ok(())
}
