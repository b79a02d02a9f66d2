//! The files that the program carries, put together by the build.

include!(concat!(env!("OUT_DIR"), "/catalog_files.rs"));
