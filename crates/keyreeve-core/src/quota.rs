//! Quotas: how much a subject may spend per calendar period, and the account of what it spent.
//!
//! The account lives in memory and is all the hot path touches. What makes it survive a crash is
//! the **claim**: before more is spent than was durably claimed, a higher claim is written to
//! disk. After a crash the account resumes as if all that was claimed had been spent, so a quota
//! is never over-spent. What a crash can lose is the part of the claim that was not spent: one
//! chunk, plus what was reserved or given back since.

mod account;
mod claim;
mod period;
mod reservations;
mod rule;

pub use account::{QuotaAccount, QuotaLevel, QuotaRefused, ReservationError, Spent};
pub use claim::{Claim, Stored};
pub use period::{Period, Refill};
pub use reservations::MOST_RESERVATIONS;
pub use rule::{LARGEST_AMOUNT, Quota};
