//! Takes secrets out of what an upstream answers, while it passes.
//!
//! What is found is overwritten with as many `*` as it was long, so that lengths which were told
//! before stay true. Only as much is held back as could be the beginning of a secret: an event of a
//! stream is not delayed.
//!
//! This is the last net and not the first wall: an upstream that writes a secret in a form which is
//! not among [`forms()`] gets it past.

mod forms;
#[cfg(test)]
mod tests;

use std::{fmt, mem, ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use zeroize::{Zeroize as _, Zeroizing};

pub use self::forms::{SHORTEST, forms};
use crate::{Invalid, Secret};

/// What secrets are overwritten with.
const MASK: u8 = b'*';
/// The most bytes that all forms of all values may have together. The automaton takes about
/// fifteen times that.
const MOST: usize = 4 * 1024 * 1024;
/// Words of a table with one bit for each pair of bytes.
const PAIRS: usize = 1 << 10;

/// The secrets that answers are searched for, in all their forms. Made once and shared.
///
/// The automaton holds copies of the secrets that it cannot overwrite when it is dropped. They last
/// as long as the set does and are gone for certain only where the allocator overwrites what is
/// freed.
pub struct ScrubSet {
    finder: AhoCorasick,
    /// All forms in the order of their bytes, each once.
    patterns: Vec<Secret<Vec<u8>>>,
    /// Which pairs of bytes patterns begin with: the bit of a pair is at its value.
    openings: Vec<u64>,
    /// The length of the longest pattern, in bytes.
    longest: usize,
}

impl ScrubSet {
    /// A set of all [`forms()`] of these values; values that are too short have none. Fails if the
    /// forms have more than 4 MiB together.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Invalid> {
        Self::of(values.into_iter().flat_map(forms).collect())
    }

    /// A set of everything in this one and all [`forms()`] of one more value. Fails as
    /// [`ScrubSet::new`] does.
    pub fn with(&self, value: &[u8]) -> Result<Self, Invalid> {
        // EXPOSE: copied into the other set.
        let known = self.patterns.iter().map(|pattern| Secret::new(pattern.expose().clone()));
        Self::of(known.chain(forms(value)).collect())
    }

    fn of(mut patterns: Vec<Secret<Vec<u8>>>) -> Result<Self, Invalid> {
        // EXPOSE: put in order.
        patterns.sort_unstable_by(|one, other| one.expose().cmp(other.expose()));
        // EXPOSE: compared.
        patterns.dedup_by(|one, other| one.expose() == other.expose());
        let mut openings = vec![0_u64; PAIRS];
        let (mut longest, mut total) = (0, 0_usize);
        for pattern in &patterns {
            // EXPOSE: measured, and its first two bytes noted.
            let pattern = pattern.expose().as_slice();
            longest = longest.max(pattern.len());
            total = total.saturating_add(pattern.len());
            if let Some((index, bit)) = opening(pattern)
                && let Some(word) = openings.get_mut(index)
            {
                *word |= bit;
            }
        }
        let too_many = || Invalid::new("must have at most 4 MiB in all the forms they may take");
        if total > MOST {
            return Err(too_many());
        }
        let finder = AhoCorasick::builder()
            // The search for many strings at once with wide registers is there only for leftmost
            // matches. That every covered byte is found does not rest on it: see `covered`.
            .match_kind(MatchKind::LeftmostLongest)
            // A full table would be faster where there are too many patterns for that search, and
            // take up to a kilobyte for each byte of a pattern.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            // EXPOSE: become the automaton.
            .build(patterns.iter().map(Secret::expose))
            .map_err(|_| too_many())?;
        Ok(Self { finder, patterns, openings, longest })
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a secret stands in the text.
    pub fn finds(&self, text: &[u8]) -> bool {
        !self.is_empty() && self.finder.is_match(text)
    }

    /// The text with its secrets overwritten, as long as before; `None` if there are none in it.
    /// This is for what is there as a whole, such as the value of a header.
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        let covered = self.covered(text, 0);
        (!covered.is_empty()).then(|| {
            let mut masked = text.to_vec();
            overwrite(&mut masked, &covered);
            masked
        })
    }

    /// The stretches of a text that secrets cover, in order, with gaps between them. The first
    /// `known` bytes are covered in any case.
    fn covered(&self, text: &[u8], known: usize) -> Vec<Range<usize>> {
        let mut covered = Vec::new();
        if known > 0 {
            covered.push(0..known);
        }
        if self.is_empty() {
            return covered;
        }
        // The longest match from a place covers the shorter ones from there. The next search begins
        // just behind that place, because matches may overlap. Where a secret repeats itself, such
        // as one letter many times, that is a search for each place.
        let mut from = 0;
        while let Some(found) = self.finder.find(Input::new(text).range(from..)) {
            match covered.last_mut() {
                Some(last) if found.start() <= last.end => last.end = last.end.max(found.end()),
                _ => covered.push(found.range()),
            }
            from = found.start() + 1;
        }
        covered
    }

    /// How many bytes at the end of a text are the beginning of a secret that is not complete yet.
    fn unfinished(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        let mut ends = (first..text.len()).filter_map(|at| text.get(at..));
        ends.find(|end| self.is_beginning(end)).map_or(0, <[u8]>::len)
    }

    /// Whether a pattern begins with this and goes on.
    fn is_beginning(&self, text: &[u8]) -> bool {
        if let Some((index, bit)) = opening(text)
            && self.openings.get(index).is_none_or(|word| word & bit == 0)
        {
            return false;
        }
        // What begins with the text follows right behind it in the order of bytes.
        // EXPOSE: compared.
        let next = self.patterns.partition_point(|pattern| pattern.expose().as_slice() <= text);
        // EXPOSE: compared.
        self.patterns.get(next).is_some_and(|pattern| pattern.expose().starts_with(text))
    }
}

impl fmt::Debug for ScrubSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubSet").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

/// What is to be passed on instead of a piece of a stream.
#[must_use]
pub enum Fed {
    /// No secret was found. `before` was held back of earlier pieces; then come the first `kept`
    /// bytes of the piece itself, as they are. Mostly `before` is empty and `kept` the whole piece;
    /// both can be empty.
    Clean {
        /// What goes ahead of the piece.
        before: Vec<u8>,
        /// How many bytes of the piece follow.
        kept: usize,
    },
    /// These bytes, in which secrets are overwritten. Can be empty.
    Replaced(Vec<u8>),
}

/// Takes the secrets out of one stream, however that is cut into pieces.
pub struct Scrubber {
    set: Arc<ScrubSet>,
    /// The end of what came, as it came: the beginning of a secret, perhaps.
    held: Zeroizing<Vec<u8>>,
    /// How many of the first bytes of `held` belong to secrets that were found: a secret that began
    /// before them would not be found again.
    covered: usize,
    /// Whether the last byte that was passed on was overwritten.
    is_inside: bool,
    hits: u64,
}

impl Scrubber {
    /// For the start of a stream.
    pub fn new(set: Arc<ScrubSet>) -> Self {
        Self { set, held: Zeroizing::default(), covered: 0, is_inside: false, hits: 0 }
    }

    /// What is looked for.
    pub fn set(&self) -> &ScrubSet {
        &self.set
    }

    /// Takes the next piece of the stream and says what to pass on.
    pub fn feed(&mut self, piece: &[u8]) -> Fed {
        if piece.is_empty() || self.set.is_empty() {
            return Fed::Clean { before: Vec::new(), kept: piece.len() };
        }
        if self.covered == 0 && !self.set.finds(piece) && !self.finds_across(piece) {
            self.pass(piece)
        } else {
            self.replace(piece)
        }
    }

    /// What was held back, once the stream has ended: mostly empty, and with the secrets in it
    /// overwritten. The scrubber is then ready for another stream, and goes on counting.
    pub fn finish(&mut self) -> Vec<u8> {
        // It is passed on, so it need not be overwritten.
        let mut rest = mem::take(&mut *self.held);
        let covered = self.set.covered(&rest, mem::take(&mut self.covered));
        self.count(&covered, rest.len());
        overwrite(&mut rest, &covered);
        self.is_inside = false;
        rest
    }

    /// How many stretches were overwritten in what was passed on. Secrets that overlap or touch are
    /// one stretch.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Whether a secret stands in what is held back, with what follows of it in the piece.
    fn finds_across(&self, piece: &[u8]) -> bool {
        // No secret that begins in what is held back ends behind this.
        let near = piece.get(..self.set.longest).unwrap_or(piece);
        !self.held.is_empty() && self.set.finds(&joined(&self.held, near))
    }

    /// Passes a piece on in which there is no secret, but for its end if that may become one.
    fn pass(&mut self, piece: &[u8]) -> Fed {
        let unfinished = if self.held.is_empty() || piece.len() >= self.set.longest {
            self.set.unfinished(piece)
        } else {
            self.set.unfinished(&joined(&self.held, piece))
        };
        let passed = (self.held.len() + piece.len()).saturating_sub(unfinished);
        if passed > 0 {
            self.is_inside = false;
        }
        if let Some(kept) = passed.checked_sub(self.held.len()) {
            let before = mem::take(&mut *self.held);
            self.held.extend_from_slice(piece.get(kept..).unwrap_or_default());
            return Fed::Clean { before, kept };
        }
        // The piece is short: not even all of what was held back can go.
        let before = self.held.get(..passed).unwrap_or_default().to_vec();
        self.held = joined(self.held.get(passed..).unwrap_or_default(), piece);
        Fed::Clean { before, kept: 0 }
    }

    /// Overwrites the secrets in what was held back and the piece, and passes both on, but for the
    /// end if that may become another secret.
    fn replace(&mut self, piece: &[u8]) -> Fed {
        let mut all = joined(&self.held, piece);
        let covered = self.set.covered(&all, self.covered);
        let passed = all.len().saturating_sub(self.set.unfinished(&all));
        let end = all.get_mut(passed..).unwrap_or_default();
        self.held = Zeroizing::new(end.to_vec());
        end.zeroize();
        // Of what is held back this much is settled. Secrets behind it are found again with the
        // next piece.
        let last = covered.iter().rfind(|stretch| stretch.start <= passed);
        self.covered = last.map_or(0, |stretch| stretch.end.saturating_sub(passed));
        self.count(&covered, passed);
        let mut all = mem::take(&mut *all);
        all.truncate(passed);
        overwrite(&mut all, &covered);
        Fed::Replaced(all)
    }

    /// Counts the stretches that begin in the bytes that are passed on now.
    fn count(&mut self, covered: &[Range<usize>], passed: usize) {
        let goes_on = self.is_inside;
        let mut begun = covered.iter().filter(|stretch| stretch.start < passed);
        let new = begun.clone().filter(|stretch| stretch.start > 0 || !goes_on);
        self.hits += new.count() as u64;
        if passed > 0 {
            self.is_inside = begun.next_back().is_some_and(|stretch| stretch.end >= passed);
        }
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber")
            .field("held", &self.held.len())
            .field("hits", &self.hits)
            .finish_non_exhaustive()
    }
}

/// Where the bit for the first two bytes of a text stands: the word and the bit in it.
fn opening(text: &[u8]) -> Option<(usize, u64)> {
    let pair = u16::from_be_bytes(*text.first_chunk()?);
    Some((usize::from(pair >> 6), 1_u64 << (pair & 63)))
}

/// One text behind the other, with just the room they need: growing would leave copies behind.
fn joined(first: &[u8], second: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(first.len() + second.len()));
    joined.extend_from_slice(first);
    joined.extend_from_slice(second);
    joined
}

/// Overwrites stretches of a text, as far as it goes.
fn overwrite(text: &mut [u8], stretches: &[Range<usize>]) {
    let length = text.len();
    for stretch in stretches {
        let within = stretch.start.min(length)..stretch.end.min(length);
        text.get_mut(within).unwrap_or_default().fill(MASK);
    }
}
