//! Requests that are not for Keyreeve itself but pass through it: served in place by whoever the
//! composition root puts here, on the same sockets and cores.

use std::pin::Pin;

pub use axum::body::Body;
use http::{HeaderValue, Request, Response};
pub use hyper::body::Incoming;
use keyreeve_api::ErrorCode;
use keyreeve_core::name::ProjectName;
use keyreeve_engine::{
    RequestMeta,
    connections::{Probe, Probed},
};

/// An answer on its way.
pub type Passing<'a> = Pin<Box<dyn Future<Output = Passed> + Send + 'a>>;

/// What a service says, on its way.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Probed> + Send + 'a>>;

/// What became of a request that passed through.
#[derive(Debug)]
pub struct Passed {
    /// The answer, or why there is none.
    pub answer: Result<Response<Body>, NotPassed>,
    /// The origin that a browser may show the answer to.
    pub cors: Option<HeaderValue>,
}

/// Why a request was not passed through.
#[derive(Debug)]
pub struct NotPassed {
    /// What the caller is told.
    pub code: ErrorCode,
    /// More of it in words.
    pub detail: Option<String>,
    /// Whole seconds after which trying again may help.
    pub retry_after_s: Option<u64>,
}

/// Serves requests that pass through.
pub trait DataPlane: Send + Sync {
    /// Whether a request is one of those.
    fn takes(&self, path: &str) -> bool;

    /// Whether it is one that is for nobody once whoever sent it is gone.
    fn gives_up(&self, path: &str) -> bool;

    /// Serves one of them.
    fn pass(&self, request: Request<Incoming>, meta: RequestMeta) -> Passing<'_>;

    /// Asks a service whether a credential is good.
    fn probe(&self, probe: Probe) -> Probing<'_>;

    /// Ends everything of a project that is passing through, at once.
    fn cut(&self, project: &ProjectName);

    /// Adds its figures to the page for Prometheus; names of what people made only if whoever reads it
    /// may see them.
    fn render_figures(&self, page: &mut String, with_names: bool);
}
