//! The export form: JSON lines that can be checked without the installation they came from.
//!
//! First a header, then one line an entry, then one line a signed tree head. Entry lines carry
//! the recorded bytes untouched, because those bytes are what was hashed.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Hash;

const FORMAT: &str = "keyreeve-audit-export/1";
const LONGEST_LINE: usize = 1024 * 1024;

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    format: String,
    /// The verifier key, for convenience. Whoever distrusts the export takes the key from
    /// elsewhere.
    pub public_key: String,
}

impl ExportHeader {
    /// A header naming the verifier key.
    pub fn new(public_key: String) -> Self {
        Self { format: FORMAT.to_owned(), public_key }
    }
}

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportLine {
    /// The first line.
    Header(ExportHeader),
    /// A recorded entry.
    Entry {
        /// The recorded bytes.
        bytes: Vec<u8>,
        /// The leaf hash kept beside them.
        leaf: Hash,
    },
    /// A signed tree head, as a C2SP note.
    Checkpoint(String),
}

/// A line that is none of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of a Keyreeve audit export")]
pub struct MalformedExport;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine<'a> {
    leaf: String,
    #[serde(borrow)]
    entry: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

impl ExportLine {
    /// The line as text, without its line end.
    pub fn to_line(&self) -> Result<String, MalformedExport> {
        let line = match self {
            Self::Header(header) => serde_json::to_string(header),
            Self::Entry { bytes, leaf } => {
                let entry = serde_json::from_slice(bytes).map_err(|_| MalformedExport)?;
                serde_json::to_string(&EntryLine { leaf: leaf.to_base64(), entry })
            }
            Self::Checkpoint(note) => {
                serde_json::to_string(&CheckpointLine { checkpoint: note.clone() })
            }
        };
        line.map_err(|_| MalformedExport)
    }

    /// Reads a line. At most 1 MiB.
    pub fn parse(line: &str) -> Result<Self, MalformedExport> {
        if line.len() > LONGEST_LINE {
            return Err(MalformedExport);
        }
        if let Ok(EntryLine { leaf, entry }) = serde_json::from_str(line) {
            let leaf = Hash::from_base64(&leaf).ok_or(MalformedExport)?;
            return Ok(Self::Entry { bytes: entry.get().as_bytes().to_vec(), leaf });
        }
        if let Ok(CheckpointLine { checkpoint }) = serde_json::from_str(line) {
            return Ok(Self::Checkpoint(checkpoint));
        }
        match serde_json::from_str::<ExportHeader>(line) {
            Ok(header) if header.format == FORMAT => Ok(Self::Header(header)),
            _ => Err(MalformedExport),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_keep_the_recorded_bytes() {
        let bytes = br#"{"v":1,  "odd":"spacing"}"#.to_vec();
        let entry = ExportLine::Entry { leaf: Hash::leaf(&bytes), bytes };
        let header = ExportLine::Header(ExportHeader::new("name+00000000+AAAA".into()));
        let checkpoint = ExportLine::Checkpoint("a\n1\nroot\n\n— a b\n".into());
        for line in [entry, header, checkpoint] {
            let text = line.to_line().unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(ExportLine::parse(&text), Ok(line));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,200}") {
            let _ = ExportLine::parse(&text);
        }
    }
}
