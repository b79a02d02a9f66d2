//! Bodies that are signed for AWS while they go through: cut into pieces, each with a signature.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use keyreeve_core::signature::aws::{CHUNK_BYTES, ChunkSigner, chunked_length};

use super::{BodyError, StreamedRequest};

/// A body that comes from the client while it goes to the service, signed piece by piece.
pub(crate) struct SignedRequest {
    pub(super) stream: StreamedRequest,
    signer: ChunkSigner,
    /// What came and does not fill a piece yet.
    pending: BytesMut,
    /// Bytes that are still to be sent, signatures included.
    pub(super) left: u64,
    has_ended: bool,
    pub(super) is_done: bool,
}

impl SignedRequest {
    /// For a body of so many bytes, which the client has announced.
    pub(crate) fn new(stream: StreamedRequest, signer: ChunkSigner, length: u64) -> Self {
        let left = chunked_length(length);
        let pending = BytesMut::new();
        Self { stream, signer, pending, left, has_ended: false, is_done: false }
    }

    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.has_ended && self.pending.len() < CHUNK_BYTES {
            match ready!(self.stream.poll(context)) {
                Some(Ok(frame)) => {
                    // Trailers have no place in what is signed.
                    if let Ok(data) = frame.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.has_ended = true,
            }
        }
        if self.is_done {
            return Poll::Ready(None);
        }
        let size = self.pending.len().min(CHUNK_BYTES);
        // The one without data is the last.
        self.is_done = size == 0;
        let piece = Bytes::from(self.signer.chunk(&self.pending.split_to(size)));
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
