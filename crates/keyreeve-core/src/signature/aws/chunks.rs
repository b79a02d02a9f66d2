//! Bodies that are signed piece by piece while they are sent, which S3 takes:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::{HASH, hmac_sha256};
use crate::encoding::hex;

/// The bytes of each piece but the last. S3 takes no smaller ones than 8 KiB.
pub const CHUNK_BYTES: usize = 64 << 10;
const ALGORITHM: &str = "AWS4-HMAC-SHA256-PAYLOAD";
/// What stands between the length of a piece and its signature.
const SIGNATURE: &str = ";chunk-signature=";
const LINE_END: &str = "\r\n";

/// Signs the pieces of one body, each over the signature of the one before. Prints nothing of the key.
pub struct ChunkSigner {
    pub(super) key: Zeroizing<[u8; HASH]>,
    pub(super) time: String,
    pub(super) scope: String,
    /// The signature of the piece before; that of the head for the first.
    pub(super) previous: String,
}

impl ChunkSigner {
    /// A piece as it is sent. The last one is empty, and ends the body.
    pub fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let nothing = digest::digest(&digest::SHA256, b"");
        let digest = digest::digest(&digest::SHA256, data);
        let (nothing, digest) = (hex(nothing.as_ref()), hex(digest.as_ref()));
        let Self { key, time, scope, previous } = self;
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{previous}\n{nothing}\n{digest}");
        let signature = hex(hmac_sha256(key.as_slice(), &to_sign).as_slice());
        let head = format!("{:x}{SIGNATURE}{signature}{LINE_END}", data.len());
        self.previous = signature;
        [head.as_bytes(), data, LINE_END.as_bytes()].concat()
    }
}

/// How long a body of so many bytes is once it is cut into pieces of [`CHUNK_BYTES`] that are signed.
pub fn chunked_length(length: u64) -> u64 {
    let full = length / CHUNK_BYTES as u64;
    let rest = length % CHUNK_BYTES as u64;
    let last = if rest == 0 { 0 } else { piece_length(rest) };
    full * piece_length(CHUNK_BYTES as u64) + last + piece_length(0)
}

fn piece_length(length: u64) -> u64 {
    let digits = u64::from(length.checked_ilog2().unwrap_or_default() / 4 + 1);
    digits + (SIGNATURE.len() + 2 * HASH + 2 * LINE_END.len()) as u64 + length
}
