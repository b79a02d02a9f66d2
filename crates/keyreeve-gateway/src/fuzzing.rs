//! What the fuzz targets reach of what is nobody else's. Built for them alone.

pub use crate::upstream::fuzzing::{Answer, http1_answer};
