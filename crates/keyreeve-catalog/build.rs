//! Checks every file of the catalogue with the code that reads it later, and puts them into the
//! program. A rule that is broken stops the build and names the line.

#![expect(dead_code, unreachable_pub, reason = "the build uses a part of what the library has")]

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

#[path = "src/auth.rs"]
mod auth;
#[path = "src/catalog.rs"]
mod catalog;
#[path = "src/check.rs"]
mod check;
#[path = "src/liveness.rs"]
mod liveness;
#[path = "src/load.rs"]
mod load;
#[path = "src/pattern.rs"]
mod pattern;
#[path = "src/place.rs"]
mod place;
#[path = "src/provider.rs"]
mod provider;
#[path = "src/template.rs"]
mod template;

/// The library's own list is what is made here.
mod embedded {
    pub(crate) const FILES: &[(&str, &str)] = &[];
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../catalog");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let name =
                path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            files.push((name, fs::read_to_string(&path)?, path));
        }
    }
    files.sort();
    let texts = files.iter().map(|(name, text, _)| (name.as_str(), text.as_str()));
    if let Err(mistakes) = catalog::Catalog::load(texts) {
        for mistake in &mistakes {
            println!("cargo::error=catalog/{mistake}");
        }
        return Err(format!("{} mistakes in the catalogue", mistakes.len()).into());
    }
    let mut list = String::from("pub(crate) const FILES: &[(&str, &str)] = &[\n");
    for (name, _, path) in &files {
        let path = path.canonicalize()?;
        let path = path.display().to_string();
        let (name, path) = (name.escape_default(), path.escape_default());
        writeln!(list, "    (\"{name}\", include_str!(\"{path}\")),")?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("catalog_files.rs"), list)?;
    Ok(())
}
