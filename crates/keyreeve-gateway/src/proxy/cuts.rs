//! What ends the calls of a project that are going on.

use std::{
    cell::RefCell,
    collections::HashMap as OwnMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use keyreeve_core::name::ProjectName;
use papaya::HashMap;
use tokio_util::sync::CancellationToken;

use crate::body::Cut;

/// Projects that a core knows the signals of.
const MOST_PROJECTS: usize = 10_000;

/// The signals, one for each project, and of each a child for every core: whoever waits for a signal is put
/// on its list, and a list that all cores write to with each call would be waited for with each.
pub(super) struct Cuts {
    signals: HashMap<ProjectName, CancellationToken>,
    /// Tells them from those of another proxy in this process.
    number: usize,
}

thread_local! {
    static OF_THIS_CORE: RefCell<OwnMap<usize, OwnMap<ProjectName, Cut>>> = RefCell::default();
}

impl Default for Cuts {
    fn default() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self { signals: HashMap::new(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Cuts {
    /// What ends a call of a project that begins now.
    pub(super) fn of(&self, project: &ProjectName) -> Cut {
        OF_THIS_CORE.with_borrow_mut(|own| {
            let own = own.entry(self.number).or_default();
            if let Some(cut) = own.get(project).filter(|cut| !cut.0.is_cancelled()) {
                return cut.clone();
            }
            if own.len() >= MOST_PROJECTS {
                own.clear();
            }
            let signals = self.signals.pin();
            let signal = signals.get_or_insert_with(project.clone(), CancellationToken::new);
            let cut = Cut(Arc::new(signal.child_token()));
            own.insert(project.clone(), cut.clone());
            cut
        })
    }

    /// Ends all calls of a project that are going on.
    pub(super) fn cut(&self, project: &ProjectName) {
        if let Some(signal) = self.signals.pin().remove(project) {
            signal.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> ProjectName {
        name.parse().unwrap()
    }

    #[test]
    fn a_cut_ends_what_goes_on_of_that_project_on_every_core() {
        let cuts = Cuts::default();
        let (one, other) = (project("one"), project("other"));
        let (mine, of_other) = (cuts.of(&one), cuts.of(&other));
        let elsewhere = std::thread::scope(|scope| scope.spawn(|| cuts.of(&one)).join().unwrap());
        assert!(!mine.0.is_cancelled() && !elsewhere.0.is_cancelled());
        cuts.cut(&one);
        assert!(mine.0.is_cancelled() && elsewhere.0.is_cancelled());
        assert!(!of_other.0.is_cancelled());
        assert!(!cuts.of(&one).0.is_cancelled(), "a new call is not cut");
    }

    #[test]
    fn two_proxies_have_nothing_in_common() {
        let (one, other) = (Cuts::default(), Cuts::default());
        let (of_one, of_other) = (one.of(&project("p")), other.of(&project("p")));
        one.cut(&project("p"));
        assert!(of_one.0.is_cancelled() && !of_other.0.is_cancelled());
    }
}
