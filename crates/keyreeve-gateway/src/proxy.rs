//! Calls by path: `/proxy/<connection>/<path>`.

mod answer;
mod cors;
mod cuts;
mod figures;
mod forward;
mod headers;
mod inject;
mod kept;
mod proof;
mod record;
mod refusal;
mod request;
mod send;
mod upgrade;

use std::{path::PathBuf, sync::Arc};

use http::{HeaderValue, Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::{Clock, Engine, RequestMeta, connections::CallRefused};

pub(crate) use self::headers::{for_client, strip_trailers};
pub use self::refusal::{Refusal, RefusalKind};
use self::{cuts::Cuts, figures::Figures, record::Recorder, request::Asked};
pub(crate) use self::{
    forward::full,
    inject::Outgoing,
    proof::Proof,
    record::Ending,
    send::{Answered, prepare},
};
use crate::{
    body::AnswerBody,
    cache::SharedCache,
    tokens::Tokens,
    upstream::{Breakers, Dialer, Lane, TrustError, roots, tls},
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
    dialer: Arc<Dialer>,
    tokens: Tokens,
    breakers: Breakers<Lane>,
    recorder: Arc<Recorder>,
    cache: SharedCache,
    cuts: Cuts,
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
        let tls = tls(roots(options.authorities.as_deref())?)?;
        let dialer = Arc::new(Dialer::new(&tls, options.own_ports.clone()));
        Ok(Self {
            tokens: Tokens::new(engine.clone(), clock.clone(), dialer.clone()),
            recorder: Arc::new(Recorder { engine: engine.clone(), figures: Figures::default() }),
            engine,
            clock,
            dialer,
            breakers: Breakers::default(),
            cache: SharedCache::default(),
            cuts: Cuts::default(),
        })
    }

    /// Serves one request whose path begins with [`PREFIX`].
    pub async fn serve(&self, request: Request<Incoming>, meta: RequestMeta) -> Served {
        if cors::is_preflight(&request) {
            return self.preflight(&request, request.headers().get(http::header::ORIGIN));
        }
        let (mut parts, body) = request.into_parts();
        let mut cors = None;
        let answer = self.call(&mut parts, body, meta, &mut cors).await;
        if let Err(refusal) = &answer {
            self.figures().refused(refusal.kind);
        }
        Served { answer, cors }
    }

    // What is large goes from hand to hand by reference: each function that waits keeps its arguments, and
    // every call would carry as many copies about.
    async fn call(
        &self,
        parts: &mut Parts,
        body: Incoming,
        meta: RequestMeta,
        cors: &mut Option<HeaderValue>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let origin = parts.headers.get(http::header::ORIGIN).and_then(|it| it.to_str().ok());
        if let (Some(origin), Some(name)) = (origin, request::connection_of(parts.uri.path())) {
            // Before anything can be refused: a page that may call is told why.
            *cors = self.allowed_origin(name, origin);
        }
        if !is_passed_on(&parts.method) {
            return Err(Refusal::new(RefusalKind::Method));
        }
        let asked = Asked::read(parts).map_err(|refusal| self.counted(refusal, meta))?;
        let admitted = self.engine.admit_call(&asked.call(parts, meta)).await;
        let admitted = admitted.map_err(Refusal::from).inspect_err(|refusal| {
            if refusal.kind == RefusalKind::Origin {
                *cors = None;
            }
        })?;
        // Now, so that they are not kept while the service is waited for.
        for name in asked.holders(&parts.headers) {
            parts.headers.remove(name);
        }
        let (mut call, credential) = self.begin(admitted, &parts.method, meta);
        if upgrade::is_wanted(parts) {
            let upgraded = self.forward_upgrade(call, parts, credential);
            return Box::pin(upgraded).await;
        }
        match self.forward(&mut call, parts, body, credential).await {
            Ok(forwarded) => self.answered(call, forwarded, &parts.method),
            Err(refusal) => Err(call.not_answered(refusal)),
        }
    }

    /// A call without a credential is limited and counted as it is everywhere else.
    fn counted(&self, refusal: Refusal, meta: RequestMeta) -> Refusal {
        if refusal.kind != RefusalKind::Unauthenticated {
            return refusal;
        }
        if let Err(too_many) = self.engine.admit_anonymous(meta.ip) {
            return CallRefused::from(too_many).into();
        }
        self.engine.count_failed_authentication(meta.ip, refusal.kind.as_str());
        refusal
    }

    /// Ends all calls of a project that are going on, streams and tunnels among them. New ones are taken.
    pub fn cut(&self, project: &ProjectName) {
        self.cuts.cut(project);
    }

    /// The figures as Prometheus reads them.
    pub fn render_figures(&self, page: &mut String) {
        self.figures().render(page, self.breakers.open(self.now_ns()));
    }

    fn figures(&self) -> &Figures {
        &self.recorder.figures
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    fn now_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }
}

/// Whether a method is one that services are called with. Those that repeat what they were sent, or open
/// a tunnel past every rule, are not, in whatever way they are written.
fn is_passed_on(method: &Method) -> bool {
    let name = method.as_str();
    let reflects = ["TRACE", "TRACK", "DEBUG", "CONNECT", "OPTIONS"];
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') && !reflects.contains(&name)
}
