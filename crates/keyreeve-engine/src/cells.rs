//! Limits by address, route and caller: many subjects, most of them strangers, in bounded memory.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use keyreeve_core::{limit::GcraCell, restriction::normal};
use papaya::HashMap;

/// How long after a sweep the next one may run.
const SWEEP_EVERY_NS: u64 = 1_000_000_000;

/// One subject's count, and until when it is locked out.
#[derive(Debug, Default)]
pub(crate) struct SubjectCell {
    pub(crate) gcra: GcraCell,
    locked_until_ns: AtomicU64,
}

impl SubjectCell {
    /// Until when the subject is locked out, if it is at `now_ns`.
    pub(crate) fn locked_until(&self, now_ns: u64) -> Option<u64> {
        let until = self.locked_until_ns.load(Ordering::Acquire);
        (until > now_ns).then_some(until)
    }

    /// Locks the subject out. Returns whether it was not before.
    pub(crate) fn lock(&self, now_ns: u64, until_ns: u64) -> bool {
        self.locked_until_ns.fetch_max(until_ns, Ordering::AcqRel) <= now_ns
    }

    fn is_idle(&self, now_ns: u64) -> bool {
        self.gcra.is_full(now_ns) && self.locked_until(now_ns).is_none()
    }
}

/// Cells of many subjects. Idle ones make room; when there is none left, all that come too late
/// share one cell, so a flood of addresses cannot fill the memory nor escape its limit.
pub(crate) struct CellTable<K> {
    cells: HashMap<K, Arc<SubjectCell>>,
    overflow: Arc<SubjectCell>,
    most: usize,
    swept_ns: AtomicU64,
}

impl<K> std::fmt::Debug for CellTable<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CellTable").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq> CellTable<K> {
    /// Room for that many subjects.
    pub(crate) fn new(most: usize) -> Self {
        Self { cells: HashMap::new(), overflow: Arc::default(), most, swept_ns: AtomicU64::new(0) }
    }

    /// The cell that counts for the subject, if there is one. Makes none.
    pub(crate) fn get(&self, subject: &K) -> Option<Arc<SubjectCell>> {
        let cells = self.cells.pin();
        let own = cells.get(subject).cloned();
        own.or_else(|| (cells.len() >= self.most).then(|| self.overflow.clone()))
    }

    /// The subject's cell, made if there is room.
    pub(crate) fn cell(&self, subject: K, now_ns: u64) -> Arc<SubjectCell> {
        let cells = self.cells.pin();
        if let Some(cell) = cells.get(&subject) {
            return cell.clone();
        }
        if cells.len() >= self.most && !self.sweep(now_ns) {
            return self.overflow.clone();
        }
        cells.get_or_insert_with(subject, Arc::default).clone()
    }

    /// Makes room, at most once in a while. Returns whether there is any now.
    fn sweep(&self, now_ns: u64) -> bool {
        let swept = self.swept_ns.load(Ordering::Acquire);
        let due = now_ns.saturating_sub(swept) >= SWEEP_EVERY_NS;
        let order = (Ordering::AcqRel, Ordering::Acquire);
        if due && self.swept_ns.compare_exchange(swept, now_ns, order.0, order.1).is_ok() {
            // Whoever holds a cell that goes may still count on it: it was full, so little is lost.
            self.cells.pin().retain(|_, cell| !cell.is_idle(now_ns) || Arc::strong_count(cell) > 1);
        }
        self.cells.len() < self.most
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.cells.len()
    }
}

/// What counts as one address: a whole /64 of IPv6, for that is what one subscriber has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AddressGroup(u128);

impl AddressGroup {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match normal(ip) {
            IpAddr::V4(ip) => Self(u128::from(ip.to_bits())),
            IpAddr::V6(ip) => Self(ip.to_bits() & !u128::from(u64::MAX)),
        }
    }

    /// The group as an address, for people.
    pub(crate) fn address(self) -> IpAddr {
        match u32::try_from(self.0) {
            Ok(bits) => IpAddr::V4(bits.into()),
            Err(_) => IpAddr::V6(Ipv6Addr::from_bits(self.0)),
        }
    }

    /// The bits, for use as a part of another subject.
    pub(crate) fn bits(self) -> u128 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_subjects_shares_one_cell() {
        let table = CellTable::new(100);
        let rate = "1/1h".parse().unwrap();
        for subject in 0..1_000 {
            let _ = table.cell(subject, 1).gcra.take(&rate, 1, 1);
        }
        assert_eq!(table.len(), 100);
        assert!(Arc::ptr_eq(&table.cell(5_000, 1), &table.cell(6_000, 1)));
        // An hour later all are idle and make room.
        let later = 3_600_000_000_001;
        assert!(!Arc::ptr_eq(&table.cell(5_000, later), &table.cell(6_000, later)));
    }

    #[test]
    fn locked_subjects_stay() {
        let table = CellTable::new(1);
        assert!(table.cell("a", 1).lock(1, 5_000_000_000));
        assert!(!table.cell("a", 2).lock(2, 5_000_000_000), "locked before");
        let _ = table.cell("b", 3_000_000_000);
        assert!(table.get(&"a").is_some_and(|cell| cell.locked_until(4_000_000_000).is_some()));
    }

    #[test]
    fn a_subscriber_is_one_address() {
        let group = |text: &str| AddressGroup::of(text.parse().unwrap());
        assert_eq!(group("2001:db8::1"), group("2001:db8::2"));
        assert_ne!(group("2001:db8::1"), group("2001:db8:0:1::1"));
        assert_eq!(group("::ffff:192.0.2.1"), group("192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("192.0.2.1").address().to_string(), "192.0.2.1");
    }
}
