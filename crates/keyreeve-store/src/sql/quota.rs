//! Reading what of each quota is claimed.

use keyreeve_core::{name::ProjectName, quota::Stored};
use keyreeve_engine::store::QuotaSubject;

use super::{
    failure::Broken,
    query, rows,
    session::{Session, values},
};

/// What is claimed of one quota.
pub(crate) fn claim(
    session: &mut dyn Session,
    project: &ProjectName,
    subject: &QuotaSubject,
) -> Result<Option<Stored>, Broken> {
    let sql = "SELECT period_start, period_end, claimed FROM quota_claims
               WHERE project = ?1 AND holder = ?2 AND subject = ?3";
    let (holder, subject) = place(subject);
    query::first(session, sql, &values![project.as_str(), holder, subject], rows::claimed)
}

/// How a subject stands in its row: as what, and under which name.
pub(super) fn place(subject: &QuotaSubject) -> (&'static str, &str) {
    match subject {
        QuotaSubject::Lineage(id) => ("lineage", id.as_str()),
        QuotaSubject::Owner(id) => ("owner", id.as_str()),
    }
}
