//! One request on one connection to a service: the form it has there, and how it is answered.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::TrySendError,
};
use keyreeve_core::egress::{Origin, Scheme};

use super::{
    Refusal, RefusalKind,
    inject::{self, Outgoing},
};
use crate::{
    body::{BodyError, RequestBody, ServiceBody},
    upstream::{Alone, Fault, Sender, Shared, expects_length},
};

/// A request that was not answered.
pub(crate) struct Failed {
    pub(super) error: SendError,
    /// Whether nothing of the request was sent.
    pub(super) is_unsent: bool,
}

impl Failed {
    fn unsent(error: hyper::Error) -> Self {
        Self { error: SendError::Hyper(error), is_unsent: true }
    }
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Hyper(hyper::Error),
    #[error(transparent)]
    Line(Fault),
    /// Only a whole request can be sent on such a connection.
    #[error("a request that is streamed is on a connection for whole ones")]
    Streamed,
}

impl SendError {
    /// What was wrong with the request's own body, if that is why.
    pub(super) fn of_body(&self) -> Option<&BodyError> {
        let Self::Hyper(error) = self else { return None };
        std::error::Error::source(error)?.downcast_ref()
    }

    /// Whether the head of the answer is larger than is read.
    pub(super) fn is_head_too_large(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_parse_too_large(),
            Self::Line(fault) => matches!(fault, Fault::HeadTooLarge),
            Self::Streamed => false,
        }
    }

    /// Whether something came, though nothing that can be passed on.
    pub(super) fn is_answered(&self) -> bool {
        self.is_head_too_large() || self.is_no_http()
    }

    /// Whether the answer is no HTTP.
    pub(super) fn is_no_http(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_parse(),
            Self::Line(fault) => matches!(fault, Fault::NotHttp(_)),
            Self::Streamed => false,
        }
    }
}

/// The head of an answer, and the connection it came on unless the body has that.
pub(crate) struct Answered {
    pub(crate) response: Response<ServiceBody>,
    pub(crate) sender: Option<Sender>,
}

impl Sender {
    /// Sends a request and waits for the head of its answer. If nothing of it was sent, or it is one that
    /// is at hand as a whole on a connection for such, the request is still in its place afterwards.
    pub(crate) async fn send(self, request: &mut Request<RequestBody>) -> Result<Answered, Failed> {
        match self {
            Self::Line(line) => {
                let body = match request.body() {
                    RequestBody::Empty | RequestBody::Whole(None) => Bytes::new(),
                    RequestBody::Whole(Some(bytes)) => bytes.clone(),
                    RequestBody::Stream(_) | RequestBody::Signed(_) => {
                        return Err(Failed { error: SendError::Streamed, is_unsent: true });
                    }
                };
                match line.send(request, body).await {
                    Ok(response) => {
                        Ok(Answered { response: response.map(ServiceBody::Line), sender: None })
                    }
                    Err(it) => {
                        Err(Failed { error: SendError::Line(it.fault), is_unsent: it.is_unsent })
                    }
                }
            }
            // Boxed, as everything that comes seldom.
            Self::Http1(alone) => Box::pin(send_alone(alone, request)).await,
            Self::Http2(shared) => Box::pin(send_among_others(shared, request)).await,
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Whether a request is still there when it was sent.
    pub(super) fn leaves_request(&self) -> bool {
        matches!(self, Self::Line(_))
    }
}

async fn send_alone(
    mut alone: Alone,
    request: &mut Request<RequestBody>,
) -> Result<Answered, Failed> {
    // The one before may still have to be put away.
    alone.sender.ready().await.map_err(Failed::unsent)?;
    let answered = alone.sender.try_send_request(taken(request)).await;
    answered_by_hyper(answered, request, Sender::Http1(alone))
}

async fn send_among_others(
    mut shared: Shared,
    request: &mut Request<RequestBody>,
) -> Result<Answered, Failed> {
    shared.sender.ready().await.map_err(Failed::unsent)?;
    let answered = shared.sender.try_send_request(taken(request)).await;
    answered_by_hyper(answered, request, Sender::Http2(shared))
}

fn taken(request: &mut Request<RequestBody>) -> Request<RequestBody> {
    std::mem::replace(request, Request::new(RequestBody::Empty))
}

fn answered_by_hyper(
    answered: Result<Response<Incoming>, TrySendError<Request<RequestBody>>>,
    request: &mut Request<RequestBody>,
    sender: Sender,
) -> Result<Answered, Failed> {
    let mut error = match answered {
        Ok(response) => {
            let response = response.map(ServiceBody::Hyper);
            return Ok(Answered { response, sender: Some(sender) });
        }
        Err(error) => error,
    };
    let unsent = error.take_message();
    let is_unsent = unsent.is_some();
    if let Some(unsent) = unsent {
        *request = unsent;
    }
    Err(Failed { error: SendError::Hyper(error.into_error()), is_unsent })
}

impl Outgoing<'_> {
    /// The request, addressed as HTTP/1.1 has it, but for the host: that is the connection's to name.
    pub(crate) fn into_request(
        mut self,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Refusal> {
        let uri = Uri::try_from(std::mem::take(&mut *self.path));
        let uri = uri.map_err(|_| inject::unusable())?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        if request.body().is_end_stream() {
            // The length of a body that is not there would be taken from the next request.
            request.headers_mut().remove(header::CONTENT_LENGTH);
            if expects_length(request.method()) {
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Ok(request)
    }
}

/// Gives a request the form that the connection speaks: HTTP/1.1 has the host in a header, HTTP/2 in the
/// address.
pub(crate) fn prepare(
    request: &mut Request<RequestBody>,
    sender: &Sender,
    origin: &Origin,
) -> Result<(), Refusal> {
    if let Sender::Line(_) = sender {
        // It writes the request in its own way.
        return Ok(());
    }
    if let Sender::Http1(alone) = sender {
        if request.version() == http::Version::HTTP_2 {
            // It was written for a connection that is gone.
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
            *request.version_mut() = http::Version::HTTP_11;
        }
        request.headers_mut().insert(header::HOST, alone.host.clone());
        return Ok(());
    }
    let path = request.uri().path_and_query().cloned();
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(match origin.scheme() {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    });
    uri.authority = origin.authority().parse().ok();
    uri.path_and_query = path;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Refusal::new(RefusalKind::Internal))?;
    request.headers_mut().remove(header::HOST);
    *request.version_mut() = http::Version::HTTP_2;
    Ok(())
}
