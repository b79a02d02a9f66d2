//! Bodies on their way through: counted, bounded, never waited for longer than agreed, and, on the way
//! back, scrubbed.

mod patience;
mod scrubbing;
mod signed;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    patience::{Cut, Patient},
    scrubbing::Scrubbing,
    signed::SignedRequest,
};

use crate::{
    cache::{Keeping, SharedCache},
    proxy::{Ending, for_client, strip_trailers},
    upstream::Http1Body,
};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off.
    #[error("the body broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Idle,
    /// It is longer than the connection allows.
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    /// All calls were ended.
    #[error("the call was cut off")]
    Cut,
    /// It is compressed, which nobody asked for, so it cannot be looked through.
    #[error("the body is encoded in a way that cannot be looked through")]
    Encoded,
}

/// A request's body on its way to a service.
pub(crate) enum RequestBody {
    /// There is none.
    Empty,
    /// All of it is here.
    Whole(Option<Bytes>),
    /// It comes from the client.
    Stream(Box<StreamedRequest>),
    /// It comes from the client, and each piece of it is signed.
    Signed(Box<SignedRequest>),
}

/// A body that comes from the client while it goes to the service.
pub(crate) struct StreamedRequest {
    body: Incoming,
    patient: Patient,
    most: Option<u64>,
    seen: Arc<AtomicU64>,
    /// Headers that are not the client's to set, behind the body neither.
    reserved: Vec<HeaderName>,
    /// Done once all of it has gone on.
    uploaded: CancellationToken,
}

impl Drop for StreamedRequest {
    fn drop(&mut self) {
        self.uploaded.cancel();
    }
}

impl StreamedRequest {
    /// `seen` is where its bytes are counted; `reserved` are headers that are not the client's to set.
    pub(crate) fn new(
        body: Incoming,
        most: Option<u64>,
        idle: Duration,
        cut: Cut,
        seen: Arc<AtomicU64>,
        reserved: Vec<HeaderName>,
    ) -> Self {
        let uploaded = CancellationToken::new();
        Self { body, patient: Patient::new(idle, cut), most, seen, reserved, uploaded }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.patient.is_cut() {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.patient.something_came();
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers, &self.reserved);
                }
                if let Some(data) = frame.data_ref() {
                    let size = data.len() as u64;
                    let seen = self.seen.fetch_add(size, Ordering::Relaxed).saturating_add(size);
                    if let Some(most) = self.most.filter(|most| seen > *most) {
                        return Poll::Ready(Some(Err(BodyError::TooLong(most))));
                    }
                }
                if self.body.is_end_stream() {
                    self.uploaded.cancel();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(BodyError::Broken(error.into()))))
            }
            Poll::Ready(None) => {
                self.uploaded.cancel();
                Poll::Ready(None)
            }
            Poll::Pending => self.patient.poll(context).map(|why| Some(Err(why))),
        }
    }
}

impl RequestBody {
    /// Whether all of it is here.
    pub(crate) fn is_at_hand(&self) -> bool {
        matches!(self, Self::Empty | Self::Whole(_))
    }

    /// What is done once all of a body that is streamed has gone on.
    pub(crate) fn uploaded(&self) -> Option<CancellationToken> {
        match self {
            Self::Stream(stream) => Some(stream.uploaded.clone()),
            Self::Signed(signed) => Some(signed.stream.uploaded.clone()),
            Self::Empty | Self::Whole(_) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll(context),
            Self::Signed(signed) => signed.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None) => true,
            Self::Whole(Some(bytes)) => bytes.is_empty(),
            Self::Stream(stream) => stream.body.is_end_stream(),
            Self::Signed(signed) => signed.is_done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.body.size_hint(),
            Self::Signed(signed) => SizeHint::with_exact(signed.left),
        }
    }
}

/// An answer's body as it comes from a service.
pub(crate) enum ServiceBody {
    /// Over HTTP/1.1, to a request that was at hand as a whole.
    Line(Http1Body),
    /// Any other.
    Hyper(Incoming),
}

impl Body for ServiceBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Line(body) => {
                Pin::new(body).poll_frame(context).map_err(|error| BodyError::Broken(error.into()))
            }
            Self::Hyper(body) => {
                Pin::new(body).poll_frame(context).map_err(|error| BodyError::Broken(error.into()))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Line(body) => body.is_end_stream(),
            Self::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Line(body) => body.size_hint(),
            Self::Hyper(body) => body.size_hint(),
        }
    }
}

/// An answer's body on its way to the client.
pub struct AnswerBody {
    source: Source,
    scrubbing: Option<Scrubbing>,
    patient: Patient,
    most: Option<u64>,
    seen: u64,
    /// What is done when the body has ended or is dropped.
    ending: Option<Box<Ending>>,
    /// Where a whole answer is kept, and what has come of it.
    keeping: Option<Box<(SharedCache, Keeping)>>,
}

enum Source {
    Whole(Option<Bytes>),
    Stream(ServiceBody),
    /// It ended; the trailers follow what was held back.
    Trailers(Option<http::HeaderMap>),
}

impl AnswerBody {
    /// A body that comes from a service.
    pub(crate) fn stream(
        body: ServiceBody,
        scrubbing: Option<Scrubbing>,
        patient: Patient,
        most: Option<u64>,
        ending: Box<Ending>,
    ) -> Self {
        let mut body = Self {
            source: Source::Stream(body),
            scrubbing,
            patient,
            most,
            seen: 0,
            ending: Some(ending),
            keeping: None,
        };
        if body.is_end_stream() {
            body.end(true);
        }
        body
    }

    /// A body of our own.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            source: Source::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())),
            scrubbing: None,
            patient: Patient::never(),
            most: None,
            seen: 0,
            ending: None,
            keeping: None,
        }
    }

    /// Keeps the answer once it has come whole, as it is passed on.
    pub(crate) fn keep_in(mut self, cache: SharedCache, keeping: Keeping) -> Self {
        if self.ending.is_some() {
            self.keeping = Some(Box::new((cache, keeping)));
        }
        self
    }

    /// Takes down what is passed on of an answer that is to be kept.
    fn note(&mut self, frame: &Frame<Bytes>) {
        let Some(keeping) = &mut self.keeping else { return };
        if !frame.data_ref().is_none_or(|data| keeping.1.add(data)) {
            self.keeping = None;
        }
    }

    /// Lets go of the connection to the service, for the next call.
    fn hand_back(&mut self) {
        if let (Source::Stream(ServiceBody::Line(body)), Some(ending)) =
            (&mut self.source, &mut self.ending)
            && let Some(line) = body.take_line()
        {
            ending.hand_back(line);
        }
    }

    fn end(&mut self, is_whole: bool) {
        if is_whole {
            self.hand_back();
        }
        if let Some(keeping) = self.keeping.take().filter(|_| is_whole) {
            let (cache, keeping) = *keeping;
            cache.put(keeping, Instant::now());
        }
        if let Some(ending) = self.ending.take() {
            let hits = self.scrubbing.as_ref().map_or(0, Scrubbing::hits);
            ending.end(self.seen, hits, is_whole);
        }
    }

    fn fail(&mut self, why: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.end(false);
        self.source = Source::Whole(None);
        Poll::Ready(Some(Err(why)))
    }

    /// What is passed on of a frame; `None` if all of it is held back.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => {
                self.seen = self.seen.saturating_add(data.len() as u64);
                let Some(scrubbing) = &mut self.scrubbing else { return Some(Frame::data(data)) };
                scrubbing.feed(data).map(Frame::data)
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                for_client(&mut trailers);
                let Some(scrubbing) = &mut self.scrubbing else {
                    return Some(Frame::trailers(trailers));
                };
                scrubbing.mask_headers(&mut trailers);
                match scrubbing.finish() {
                    Some(rest) => {
                        self.hand_back();
                        self.source = Source::Trailers(Some(trailers));
                        Some(Frame::data(rest))
                    }
                    None => Some(Frame::trailers(trailers)),
                }
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if matches!(self.source, Source::Stream(_)) && self.patient.is_cut() {
                return self.fail(BodyError::Cut);
            }
            let body = match &mut self.source {
                Source::Whole(bytes) => {
                    return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
                }
                Source::Trailers(trailers) => {
                    let trailers = trailers.take();
                    self.end(true);
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Source::Stream(body) => body,
            };
            match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.patient.something_came();
                    let passed = self.pass(frame);
                    if let Some(most) = self.most.filter(|most| self.seen > *most) {
                        return self.fail(BodyError::TooLong(most));
                    }
                    let Some(frame) = passed else { continue };
                    self.note(&frame);
                    if self.is_end_stream() {
                        self.end(true);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => return self.fail(error),
                Poll::Ready(None) => {
                    let rest = self.scrubbing.as_mut().and_then(Scrubbing::finish);
                    let rest = rest.map(Frame::data);
                    if let Some(rest) = &rest {
                        self.note(rest);
                    }
                    self.end(true);
                    self.source = Source::Whole(None);
                    return Poll::Ready(rest.map(Ok));
                }
                Poll::Pending => {
                    return match self.patient.poll(context) {
                        Poll::Ready(why) => self.fail(why),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Trailers(trailers) => trailers.is_none(),
            Source::Stream(body) => {
                body.is_end_stream() && self.scrubbing.as_ref().is_none_or(Scrubbing::is_clear)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(None) | Source::Trailers(_) => SizeHint::default(),
            Source::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            // What is scrubbed is as long as before, but what was held back counts, too.
            Source::Stream(body) => {
                let held = self.scrubbing.as_ref().map_or(0, Scrubbing::held);
                match body.size_hint().exact() {
                    Some(exact) => SizeHint::with_exact(exact.saturating_add(held)),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.end(false);
    }
}
