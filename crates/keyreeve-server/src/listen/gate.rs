//! Counts open connections and refuses those over the limit.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::metrics::Metrics;

/// What a plain connection over the limit is told.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/problem+json\r\n\
retry-after: 1\r\n\
connection: close\r\n\
content-length: 151\r\n\r\n\
{\"type\":\"/errors/overloaded\",\"title\":\"Too many requests are waiting\",\"status\":503,\
\"code\":\"overloaded\",\"detail\":\"too many connections\",\"request_id\":\"-\"}";

/// Lets connections in up to a limit.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    open: Arc<AtomicUsize>,
    most: usize,
    metrics: Metrics,
}

/// One open connection; counts itself out when dropped.
#[derive(Debug)]
pub(crate) struct Pass(Gate);

impl Gate {
    pub(crate) fn new(most: usize, metrics: Metrics) -> Self {
        Self { open: Arc::default(), most, metrics }
    }

    pub(crate) fn enter(&self) -> Option<Pass> {
        // Counted first and taken back, so that two cores cannot both take the last place.
        if self.open.fetch_add(1, Ordering::AcqRel) < self.most {
            self.metrics.connection_opened();
            return Some(Pass(self.clone()));
        }
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.metrics.connection_refused();
        None
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Tells a plain connection why it is not served.
    pub(crate) async fn refuse(mut stream: impl AsyncWrite + Unpin) {
        // A peer that does not read its refusal is not waited for.
        let write = async {
            stream.write_all(REFUSAL).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), write).await;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_well_formed() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let problem: keyreeve_api::Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.status, 503);
        assert_eq!(problem.code, keyreeve_api::ErrorCode::Overloaded.as_str());
    }

    #[test]
    fn the_limit_holds_and_places_come_back() {
        let gate = Gate::new(2, Metrics::new().unwrap());
        let (first, second) = (gate.enter(), gate.enter());
        assert!(first.is_some() && second.is_some() && gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }
}
