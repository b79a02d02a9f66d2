//! Several nodes spend from one quota: each has an account, all share a disk and the log of what
//! came to it.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Spends at a node, claiming as often as it takes.
    Take { node: usize, amount: u64 },
    /// A node reads the log as far as it goes.
    Read { node: usize },
    /// A node stops orderly and starts again.
    Restart { node: usize },
    /// A node dies and starts again.
    Crash { node: usize },
    /// Seconds.
    Clock(i64),
}

fn arb_step() -> impl Strategy<Value = Step> {
    let node = || 0..3_usize;
    prop_oneof![
        6 => (node(), 0..60_u64).prop_map(|(node, amount)| Step::Take { node, amount }),
        3 => node().prop_map(|node| Step::Read { node }),
        1 => node().prop_map(|node| Step::Restart { node }),
        1 => node().prop_map(|node| Step::Crash { node }),
        1 => (0..40_000_i64).prop_map(Step::Clock),
    ]
}

/// What is on disk, and everything that made it so.
#[derive(Default)]
struct Disk {
    stored: Option<Stored>,
    log: Vec<(usize, Stored)>,
}

impl Disk {
    fn claim(&mut self, node: usize, known: u64, claim: Claim) -> bool {
        let newer = claim.into();
        let claimed = self.stored.map_or(Some(newer), |old| old.claimed_after(known, newer));
        let Some(claimed) = claimed else { return false };
        self.write(node, claimed);
        true
    }

    fn write(&mut self, node: usize, stored: Stored) {
        self.stored = Some(stored);
        self.log.push((node, stored));
    }
}

struct Node {
    account: QuotaAccount,
    /// How much of the log it has read.
    read: usize,
}

impl Node {
    fn start(disk: &Disk) -> Self {
        let mut account = QuotaAccount::new();
        if let Some(stored) = disk.stored {
            account.restored(stored);
        }
        Self { account, read: disk.log.len() }
    }

    fn read(&mut self, own: usize, disk: &Disk) {
        for (node, stored) in &disk.log[self.read..] {
            if *node == own {
                self.account.claimed(*stored);
            } else {
                self.account.claimed_elsewhere(*stored);
            }
        }
        self.read = disk.log.len();
    }

    /// Whether it was spent.
    fn take(
        &mut self,
        own: usize,
        disk: &mut Disk,
        quota: &Quota,
        amount: u64,
        now: Timestamp,
    ) -> bool {
        for _ in 0..10 {
            let claim = match self.account.take(quota, amount, now) {
                Ok(spent) => {
                    if let Some(ahead) = spent.claim_ahead {
                        self.claim(own, disk, ahead);
                    }
                    return true;
                }
                Err(QuotaRefused::NeedsClaim(claim)) => claim,
                Err(_) => return false,
            };
            self.claim(own, disk, claim);
        }
        panic!("it knows all there is, and still cannot claim");
    }

    fn claim(&mut self, own: usize, disk: &mut Disk, claim: Claim) {
        let known = self.account.known(claim.period_start);
        if !disk.claim(own, known, claim) {
            self.account.claim_failed();
        }
        self.read(own, disk);
    }
}

proptest! {
    #[test]
    fn together_they_never_spend_more_than_there_is(
        rule in prop::sample::select(vec!["100/day", "1000/day", "500/once"]),
        steps in prop::collection::vec(arb_step(), 1..150),
    ) {
        let quota = quota(rule);
        let mut now = at(MAY_20);
        let mut disk = Disk::default();
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::start(&disk)).collect();
        let mut spent: Vec<(Timestamp, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Take { node, amount } => {
                    if nodes[node].take(node, &mut disk, &quota, amount, now) {
                        spent.push((now, amount));
                    }
                }
                Step::Read { node } => nodes[node].read(node, &disk),
                Step::Restart { node } => {
                    // It stops when it has nothing left to learn or to say.
                    nodes[node].read(node, &disk);
                    let account = &mut nodes[node].account;
                    if let Some(period) = account.period.map(|period| period.start) {
                        let known = account.known(period);
                        if let Some(used) = account.to_store(now) {
                            let settled = disk.stored.map_or(used, |old| old.settled(known, used));
                            disk.write(node, settled);
                        }
                    }
                    nodes[node] = Node::start(&disk);
                }
                Step::Crash { node } => nodes[node] = Node::start(&disk),
                Step::Clock(seconds) => now += SignedDuration::from_secs(seconds),
            }
            let start = nodes.iter_mut().map(|node| node.account.peek(&quota, now).period_start).max();
            let since = spent.iter().filter(|(at, _)| Some(*at) >= start);
            let sum: u64 = since.map(|(_, amount)| amount).sum();
            prop_assert!(sum <= quota.amount(), "{} spent of {}", sum, quota.amount());
        }
    }

    /// Where all stop orderly, nothing is lost for the holder either.
    #[test]
    fn after_an_orderly_stop_all_that_is_left_can_be_spent(
        amounts in prop::collection::vec((0..3_usize, 1..50_u64), 1..20),
    ) {
        let quota = quota("5000/day");
        let now = at(MAY_20);
        let mut disk = Disk::default();
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::start(&disk)).collect();
        let mut spent = 0;
        for (node, amount) in amounts {
            prop_assert!(nodes[node].take(node, &mut disk, &quota, amount, now));
            spent += amount;
        }
        for (number, node) in nodes.iter_mut().enumerate() {
            node.read(number, &disk);
            let Some(period) = node.account.period.map(|period| period.start) else { continue };
            let known = node.account.known(period);
            if let Some(used) = node.account.to_store(now) {
                let settled = disk.stored.map_or(used, |old| old.settled(known, used));
                disk.write(number, settled);
            }
        }
        prop_assert_eq!(disk.stored.map(|stored| stored.claimed), Some(spent));
        let mut last = Node::start(&disk);
        prop_assert!(last.take(0, &mut disk, &quota, 5000 - spent, now));
        prop_assert!(!last.take(0, &mut disk, &quota, 1, now));
    }
}
