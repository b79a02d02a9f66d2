//! Sockets as the server and the gateway use them.

mod end;
mod outbox;
mod socket;

pub use self::socket::Socket;
