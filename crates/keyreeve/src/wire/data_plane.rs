//! The data plane behind the server's sockets.

use std::sync::Arc;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use http::Request;
use keyreeve_api::ErrorCode;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::{Clock, Engine, RequestMeta, connections::Probe};
use keyreeve_gateway::{HOOKS_PREFIX, PREFIX, Proxy, ProxyOptions, Refusal, RefusalKind, Webhooks};
use keyreeve_server::{Body, DataPlane, Incoming, NotPassed, Passed, Passing, Probing};

use crate::config::Config;

/// What passes through: calls to outside services, and what they send us.
pub(crate) struct Gateway {
    proxy: Proxy,
    webhooks: Arc<Webhooks>,
}

impl Gateway {
    /// A gateway for the connections of an engine, on a server that listens on this port.
    pub(crate) fn new(
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        config: &Config,
        port: u16,
    ) -> anyhow::Result<Self> {
        let options =
            ProxyOptions { authorities: config.proxy.authorities.clone(), own_ports: vec![port] };
        let webhooks = Webhooks::new(engine.clone(), clock.clone(), &options);
        let webhooks = Arc::new(webhooks.context("webhooks cannot be set up")?);
        let proxy = Proxy::new(engine, clock, &options).context("the proxy cannot be set up")?;
        Ok(Self { proxy, webhooks })
    }

    /// What takes webhooks and delivers events.
    pub(crate) fn webhooks(&self) -> &Arc<Webhooks> {
        &self.webhooks
    }
}

impl DataPlane for Gateway {
    fn takes(&self, path: &str) -> bool {
        path.starts_with(PREFIX) || path.starts_with(HOOKS_PREFIX)
    }

    /// An event is taken in even if its sender does not wait for the answer.
    fn gives_up(&self, path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    fn pass(&self, request: Request<Incoming>, meta: RequestMeta) -> Passing<'_> {
        if request.uri().path().starts_with(HOOKS_PREFIX) {
            return Box::pin(async move {
                let answer = self.webhooks.clone().receive(request, meta).await;
                let answer = answer.map(|response| response.map(Body::from));
                Passed { answer: answer.map_err(not_passed), cors: None }
            });
        }
        Box::pin(self.proxy.serve(request, meta).map(|served| {
            let answer = served.answer.map(|response| response.map(Body::new));
            Passed { answer: answer.map_err(not_passed), cors: served.cors }
        }))
    }

    fn probe(&self, probe: Probe) -> Probing<'_> {
        Box::pin(self.proxy.probe(probe))
    }

    fn cut(&self, project: &ProjectName) {
        self.proxy.cut(project);
    }

    fn render_figures(&self, page: &mut String, with_names: bool) {
        self.proxy.render_figures(page);
        self.webhooks.render_figures(page, with_names);
    }
}

fn not_passed(refusal: Refusal) -> NotPassed {
    let code = match refusal.kind {
        RefusalKind::Invalid => ErrorCode::InvalidRequest,
        RefusalKind::TwoCredentials => ErrorCode::DuplicateHeader,
        RefusalKind::Unauthenticated => ErrorCode::Unauthenticated,
        RefusalKind::BadCredential => ErrorCode::InvalidCredential,
        RefusalKind::NotVerified => ErrorCode::WebhookNotVerified,
        RefusalKind::Forbidden => ErrorCode::Forbidden,
        RefusalKind::Origin => ErrorCode::ForbiddenOrigin,
        RefusalKind::NotFound => ErrorCode::NotFound,
        RefusalKind::Method => ErrorCode::MethodNotAllowed,
        RefusalKind::TooLarge => ErrorCode::PayloadTooLarge,
        RefusalKind::RateLimited => ErrorCode::RateLimited,
        RefusalKind::LockedOut => ErrorCode::LockedOut,
        RefusalKind::Sealed => ErrorCode::VaultSealed,
        RefusalKind::NoCredential => ErrorCode::CredentialUnavailable,
        RefusalKind::Unavailable => ErrorCode::StoreUnavailable,
        RefusalKind::Unreachable => ErrorCode::ServiceUnreachable,
        RefusalKind::TimedOut => ErrorCode::ServiceTimeout,
        RefusalKind::CircuitOpen => ErrorCode::CircuitOpen,
        RefusalKind::BadAnswer => ErrorCode::ServiceAnswer,
        RefusalKind::Internal => ErrorCode::Internal,
    };
    NotPassed { code, detail: refusal.detail, retry_after_s: refusal.retry_after_s }
}
