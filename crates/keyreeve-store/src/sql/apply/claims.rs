//! What of each quota is claimed.

use keyreeve_core::{
    key::KeyId,
    name::{OwnerId, ProjectName},
    quota::Stored,
};
use keyreeve_engine::store::{CommitError, Kind, QuotaClaim, QuotaSubject};

use crate::{
    millis,
    sql::{
        failure::Refusal,
        query, quota,
        session::{Session, values},
    },
};

/// Claims; gives what is claimed since.
pub(crate) fn claim(
    session: &mut dyn Session,
    project: &ProjectName,
    claims: &[QuotaClaim],
) -> Result<Vec<QuotaClaim>, Refusal> {
    let claimed = |before: Option<Stored>, claim: &QuotaClaim| match before {
        None => Some(claim.stored),
        Some(before) => before.claimed_after(claim.known, claim.stored),
    };
    change(session, project, claims, claimed)
}

/// Gives back what was claimed and not spent; gives what is claimed since.
pub(crate) fn settle(
    session: &mut dyn Session,
    project: &ProjectName,
    claims: &[QuotaClaim],
) -> Result<Vec<QuotaClaim>, Refusal> {
    let settled = |before: Option<Stored>, claim: &QuotaClaim| match before {
        None => Some(claim.stored),
        Some(before) => Some(before.settled(claim.known, claim.stored)),
    };
    change(session, project, claims, settled)
}

fn change(
    session: &mut dyn Session,
    project: &ProjectName,
    claims: &[QuotaClaim],
    after: impl Fn(Option<Stored>, &QuotaClaim) -> Option<Stored>,
) -> Result<Vec<QuotaClaim>, Refusal> {
    let mut since = Vec::with_capacity(claims.len());
    for claim in claims {
        let before = quota::claim(session, project, &claim.subject)?;
        let stored = after(before, claim).ok_or(CommitError::ChangedMeanwhile(Kind::Quota))?;
        put(session, project, &claim.subject, &stored)?;
        since.push(QuotaClaim { stored, ..claim.clone() });
    }
    Ok(since)
}

fn put(
    session: &mut dyn Session,
    project: &ProjectName,
    subject: &QuotaSubject,
    stored: &Stored,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO quota_claims
                   (project, holder, subject, period_start, period_end, claimed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (project, holder, subject) DO UPDATE SET
                   period_start = excluded.period_start, period_end = excluded.period_end,
                   claimed = excluded.claimed";
    let (holder, subject) = quota::place(subject);
    session.execute(
        sql,
        &values![
            project.as_str(),
            holder,
            subject,
            millis::floor(stored.period_start),
            stored.period_end.map(millis::floor),
            query::count(stored.claimed),
        ],
    )?;
    Ok(())
}

/// A key is gone for good; so is what it may spend, if it began its lineage.
pub(crate) fn forget_lineage(
    session: &mut dyn Session,
    project: &ProjectName,
    id: KeyId,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM quota_claims
               WHERE project = ?1 AND holder = 'lineage' AND subject = ?2";
    session.execute(sql, &values![project.as_str(), id.as_str()])?;
    Ok(())
}

/// An owner is gone, and with it what it may spend.
pub(crate) fn forget_owner(
    session: &mut dyn Session,
    project: &ProjectName,
    id: &OwnerId,
) -> Result<(), Refusal> {
    let sql = "DELETE FROM quota_claims WHERE project = ?1 AND holder = 'owner' AND subject = ?2";
    session.execute(sql, &values![project.as_str(), id.as_str()])?;
    Ok(())
}
