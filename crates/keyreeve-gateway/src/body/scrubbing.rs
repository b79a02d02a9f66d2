//! Secrets taken out of what a service answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use keyreeve_core::egress::{Fed, ScrubSet, Scrubber};

/// What is looked for in one answer.
pub(crate) struct Scrubbing {
    scrubber: Scrubber,
    /// Bytes that came and were not passed on yet.
    held: u64,
    /// Hits outside the body.
    in_headers: u64,
}

impl Scrubbing {
    /// `None` if there is nothing to look for.
    pub(crate) fn of(set: &Arc<ScrubSet>) -> Option<Self> {
        (!set.is_empty()).then(|| Self {
            scrubber: Scrubber::new(set.clone()),
            held: 0,
            in_headers: 0,
        })
    }

    /// What is passed on of a piece; `None` if all of it is held back.
    pub(crate) fn feed(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let came = self.held.saturating_add(piece.len() as u64);
        let passed = match self.scrubber.feed(&piece) {
            Fed::Clean { before, kept } if before.is_empty() => {
                piece.truncate(kept);
                piece
            }
            Fed::Clean { mut before, kept } => {
                before.extend_from_slice(piece.get(..kept).unwrap_or_default());
                Bytes::from(before)
            }
            Fed::Replaced(bytes) => Bytes::from(bytes),
        };
        self.held = came.saturating_sub(passed.len() as u64);
        Some(passed).filter(|passed| !passed.is_empty())
    }

    /// What was held back, once the body has ended.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        self.held = 0;
        Some(Bytes::from(self.scrubber.finish())).filter(|rest| !rest.is_empty())
    }

    /// Overwrites what stands in headers or trailers.
    pub(crate) fn mask_headers(&mut self, headers: &mut HeaderMap) {
        let set = self.scrubber.set();
        for value in headers.values_mut() {
            if let Some(masked) = set.mask(value.as_bytes()) {
                self.in_headers += 1;
                // Only visible characters were put in the place of others.
                let masked = HeaderValue::from_bytes(&masked);
                *value = masked.unwrap_or(HeaderValue::from_static("*"));
            }
        }
    }

    /// How often something was found.
    pub(crate) fn hits(&self) -> u64 {
        self.scrubber.hits().saturating_add(self.in_headers)
    }

    /// Whether nothing is held back.
    pub(crate) fn is_clear(&self) -> bool {
        self.held == 0
    }

    /// How many bytes are held back.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }
}
