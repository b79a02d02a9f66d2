//! The stores as others see them.

#[cfg(test)]
mod audit_file;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transfer;
