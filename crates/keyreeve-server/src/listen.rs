//! Sockets: TCP on every core, TLS over it, and the local socket.

mod gate;
mod tcp;
mod tls;
mod unix;

pub(crate) use gate::Gate;
pub use tcp::BindError;
pub(crate) use tcp::{accept_tcp, bind_tcp};
pub(crate) use tls::Certificates;
pub use tls::TlsError;
pub(crate) use unix::{accept_local, bind_local};
