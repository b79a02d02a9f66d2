//! The stores as others see them.

#[cfg(test)]
mod audit_file;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod sqlite;
