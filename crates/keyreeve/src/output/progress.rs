//! How far a long work is.

/// How much of how much is done, such as `checking [####------] 2000 of 5000`.
pub(crate) fn bar(what: &str, done: u64, all: u64) -> String {
    const WIDTH: usize = 30;
    let filled = done.saturating_mul(30).checked_div(all).unwrap_or(30).min(30);
    let filled = "#".repeat(usize::try_from(filled).unwrap_or(WIDTH));
    format!("{what} [{filled:-<WIDTH$}] {done} of {all}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills() {
        assert_eq!(bar("checking", 0, 9), format!("checking [{}] 0 of 9", "-".repeat(30)));
        let half = format!("checking [{}{}] 5 of 10", "#".repeat(15), "-".repeat(15));
        assert_eq!(bar("checking", 5, 10), half);
        assert_eq!(bar("checking", 0, 0), format!("checking [{}] 0 of 0", "#".repeat(30)));
    }
}
