//! Who does what must not be done twice. By numbered terms, so that whoever lost a duty and does not
//! know it yet is refused.

use std::time::Duration;

use keyreeve_engine::store::{CommitError, DutyTerm, Kind};

use super::{
    failure::{Broken, Refusal},
    query,
    session::{Session, values},
};

/// Takes a duty or goes on with it; `None` while somebody else has it. Whoever is `alone` with the
/// database takes it from anybody: they are gone.
pub(crate) fn take(
    session: &mut dyn Session,
    duty: &'static str,
    holder: &str,
    length: Duration,
    alone: bool,
) -> Result<Option<DutyTerm>, Broken> {
    let now = session.dialect().now_ms;
    let length_ms = query::count(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    let sql = format!(
        "INSERT INTO duties (name, term, holder, ends_ms) VALUES (?1, 1, ?2, {now} + ?3)
         ON CONFLICT (name) DO UPDATE SET
             term = CASE WHEN duties.holder = ?2 THEN duties.term ELSE duties.term + 1 END,
             holder = ?2,
             ends_ms = {now} + ?3
         WHERE duties.holder = ?2 OR duties.ends_ms <= {now} OR ?4 = 1"
    );
    session.execute(&sql, &values![duty, holder, length_ms, i64::from(alone)])?;
    let sql = "SELECT term FROM duties WHERE name = ?1 AND holder = ?2";
    let number = query::number(session, sql, &values![duty, holder])?;
    Ok(number.map(|number| DutyTerm { duty, number }))
}

/// Refuses whoever has lost the duty.
pub(super) fn check(session: &mut dyn Session, term: DutyTerm) -> Result<(), Refusal> {
    let sql = "SELECT 1 FROM duties WHERE name = ?1 AND term = ?2";
    if query::exists(session, sql, &values![term.duty, query::count(term.number)])? {
        return Ok(());
    }
    Err(CommitError::ChangedMeanwhile(Kind::Duty).into())
}
