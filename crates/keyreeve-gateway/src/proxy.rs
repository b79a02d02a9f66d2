//! Calls by path: `/proxy/<connection>/<path>`.

mod answer;
mod cors;
mod figures;
mod forward;
mod headers;
mod inject;
mod record;
mod refusal;
mod request;
mod upgrade;

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use keyreeve_engine::{Clock, Engine, RequestMeta};
use tokio_util::sync::CancellationToken;

pub(crate) use self::record::Ending;
pub use self::refusal::{Refusal, RefusalKind};
use self::{figures::Figures, request::Asked};
use crate::{
    body::{AnswerBody, Cut},
    upstream::{Breakers, Dialer, TrustError, tls},
};

/// What all its paths begin with.
pub const PREFIX: &str = "/proxy/";

/// What a proxy is told.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// Whose certificates services may show; the system's authorities if `None`.
    pub authorities: Option<PathBuf>,
    /// The ports this server listens on: it never calls itself.
    pub own_ports: Vec<u16>,
}

/// Passes calls on.
pub struct Proxy {
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    dialer: Dialer,
    breakers: Breakers,
    figures: Arc<Figures>,
    /// Ends every call that is going on.
    cut: ArcSwap<CancellationToken>,
}

/// What became of a request.
pub struct Served {
    /// The answer, or why there is none.
    pub answer: Result<Response<AnswerBody>, Refusal>,
    /// What a browser at an allowed origin is told besides.
    pub cors: Option<HeaderValue>,
}

impl Proxy {
    /// A proxy for the connections of an engine.
    pub fn new(
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        options: &ProxyOptions,
    ) -> Result<Self, TrustError> {
        let tls = tls(options.authorities.as_deref())?;
        Ok(Self {
            engine,
            clock,
            dialer: Dialer::new(tls, options.own_ports.clone()),
            breakers: Breakers::default(),
            figures: Arc::default(),
            cut: ArcSwap::from_pointee(CancellationToken::new()),
        })
    }

    /// Serves one request whose path begins with [`PREFIX`].
    pub async fn serve(&self, request: Request<Incoming>, meta: RequestMeta) -> Served {
        let origin = request.headers().get(http::header::ORIGIN).cloned();
        if cors::is_preflight(&request) {
            return self.preflight(&request, origin);
        }
        let mut cors = None;
        let answer = self.call(request, meta, &mut cors).await;
        if let Err(refusal) = &answer {
            self.figures.refused(refusal.kind);
        }
        Served { answer, cors }
    }

    async fn call(
        &self,
        request: Request<Incoming>,
        meta: RequestMeta,
        cors: &mut Option<HeaderValue>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if matches!(*request.method(), Method::TRACE | Method::CONNECT | Method::OPTIONS) {
            // They repeat what they were sent, or open a tunnel past every rule.
            return Err(Refusal::new(RefusalKind::Method));
        }
        let (parts, body) = request.into_parts();
        let asked = Asked::read(&parts)?;
        if let Some(origin) = asked.origin {
            *cors = self.allowed_origin(asked.connection, origin);
        }
        let admitted = self.engine.admit_call(&asked.call(&parts, meta)).await?;
        if let Some(origin) = asked.origin
            && !admitted.connection.allows_origin(origin)
        {
            *cors = None;
            return Err(Refusal::new(RefusalKind::Origin));
        }
        let credential_header = asked.credential_header;
        self.forward(parts, body, admitted, credential_header, meta).await
    }

    /// Ends all calls that are going on; gives nothing back to their clients but the end.
    pub fn cut_all(&self) {
        self.cut.swap(Arc::new(CancellationToken::new())).cancel();
    }

    /// The figures as Prometheus reads them.
    pub fn render_figures(&self, page: &mut String) {
        self.figures.render(page, self.breakers.open());
    }

    fn cut(&self) -> Cut {
        Cut(self.cut.load_full())
    }

    fn now_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }
}
