//! One request on one connection to a service: the form it has there, and how it is answered.

use http::{HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::{Body as _, Incoming};
use keyreeve_core::egress::{Origin, Scheme};

use super::{
    Refusal, RefusalKind,
    inject::{self, Outgoing},
};
use crate::{body::RequestBody, upstream::Sender};

/// A request that was not answered.
pub(crate) struct Failed {
    pub(super) error: hyper::Error,
    /// Whether nothing of the request was sent.
    pub(super) is_unsent: bool,
}

impl Sender {
    /// Sends a request and waits for the head of its answer. The request is taken from its place, and put
    /// back there if nothing of it was sent.
    pub(crate) async fn send(
        &mut self,
        request: &mut Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failed> {
        // The one before may still have to be put away.
        let ready = match self {
            Self::Http1(alone) => alone.sender.ready().await,
            Self::Http2(shared) => shared.sender.ready().await,
        };
        if let Err(error) = ready {
            return Err(Failed { error, is_unsent: true });
        }
        let sent = std::mem::replace(request, Request::new(RequestBody::Empty));
        let answered = match self {
            Self::Http1(alone) => alone.sender.try_send_request(sent).await,
            Self::Http2(shared) => shared.sender.try_send_request(sent).await,
        };
        answered.map_err(|mut error| {
            let unsent = error.take_message();
            let is_unsent = unsent.is_some();
            if let Some(unsent) = unsent {
                *request = unsent;
            }
            Failed { error: error.into_error(), is_unsent }
        })
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }
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
            if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
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
