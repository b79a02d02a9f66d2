//! The body of an answer, on its way to the connection.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// What an answer says.
pub(crate) enum ResponseBody {
    /// All of it. Verdicts are such, and there are too many for a box each.
    Whole(Bytes),
    /// Whatever a handler made.
    Made(Body),
}

impl From<Bytes> for ResponseBody {
    fn from(whole: Bytes) -> Self {
        Self::Whole(whole)
    }
}

impl From<Body> for ResponseBody {
    fn from(made: Body) -> Self {
        Self::Made(made)
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) if whole.is_empty() => Poll::Ready(None),
            Self::Whole(whole) => Poll::Ready(Some(Ok(Frame::data(mem::take(whole))))),
            Self::Made(made) => Pin::new(made).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_empty(),
            Self::Made(made) => made.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
            Self::Made(made) => made.size_hint(),
        }
    }
}
