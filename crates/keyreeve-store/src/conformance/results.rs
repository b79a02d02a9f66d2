//! Remembered answers.

use keyreeve_engine::store::{Change, IdempotentResult};

use super::{
    harness::{Harness, Outcome},
    samples,
};

pub(super) async fn an_answer_is_remembered_once(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let result = samples::result(1, 10);
    let remember = || vec![Change::RememberResult(result.clone())];
    assert_eq!(h.store.idempotent_result(&acme, &result.lookup).await?, None);
    h.commit(&acme, remember()).await?;
    let found = h.store.idempotent_result(&acme, &result.lookup).await?;
    assert_eq!(found.as_ref(), Some(&result));
    let another = IdempotentResult { fingerprint: [9; 32], ..result.clone() };
    let another = vec![Change::RememberResult(another)];
    assert_refused!(h.commit(&acme, another).await, AlreadyExists(IdempotentResult));
    assert_eq!(h.store.idempotent_result(&acme, &result.lookup).await?, Some(result.clone()));
    assert_eq!(h.store.idempotent_result(&other, &result.lookup).await?, None);
    h.commit(&other, remember()).await?;
    Ok(())
}

pub(super) async fn old_answers_are_forgotten_everywhere(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    let results = [samples::result(1, 10), samples::result(2, 20), samples::result(3, 30)];
    let remember: Vec<Change> = results.iter().cloned().map(Change::RememberResult).collect();
    h.commit(&acme, remember.clone()).await?;
    h.commit(&other, remember).await?;
    h.commit(&acme, vec![Change::ForgetResultsBefore(samples::time(20))]).await?;
    for project in [&acme, &other] {
        let [old, exact, young] = &results;
        assert_eq!(h.store.idempotent_result(project, &old.lookup).await?, None);
        assert!(h.store.idempotent_result(project, &exact.lookup).await?.is_some());
        assert!(h.store.idempotent_result(project, &young.lookup).await?.is_some());
    }
    h.commit(&acme, vec![Change::RememberResult(samples::result(1, 40))]).await?;
    Ok(())
}

pub(super) async fn whether_there_are_old_answers(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    assert!(!h.store.has_results_before(samples::time(100)).await?);
    h.commit(&acme, vec![Change::RememberResult(samples::result(1, 10))]).await?;
    assert!(!h.store.has_results_before(samples::time(10)).await?);
    assert!(h.store.has_results_before(samples::time(11)).await?);
    Ok(())
}

pub(super) async fn purging_forgets_answers(h: Harness) -> Outcome {
    let (acme, other) = (h.project("acme").await?, h.project("other").await?);
    h.create_keys(&samples::keys(&acme, 1, 3)?).await?;
    let (gone, kept) = (samples::result(1, 10), samples::result(2, 10));
    let again = IdempotentResult { lookup: samples::digest(9), ..gone.clone() };
    let remember = [&gone, &again, &kept].map(|result| Change::RememberResult(result.clone()));
    h.commit(&acme, remember.to_vec()).await?;
    h.commit(&other, vec![Change::RememberResult(gone.clone())]).await?;
    h.commit(&acme, vec![Change::PurgeKey { id: gone.key, revision: 1 }]).await?;
    assert_eq!(h.store.idempotent_result(&acme, &gone.lookup).await?, None);
    assert_eq!(h.store.idempotent_result(&acme, &again.lookup).await?, None);
    assert_eq!(h.store.idempotent_result(&acme, &kept.lookup).await?, Some(kept));
    // What another project remembers is its own.
    assert_eq!(h.store.idempotent_result(&other, &gone.lookup).await?, Some(gone));
    Ok(())
}
