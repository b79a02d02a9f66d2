//! Sockets as the server and the gateway use them.

mod gathering;

pub use self::gathering::Gathering;
