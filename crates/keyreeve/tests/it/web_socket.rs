//! As much of WebSocket (RFC 6455) as two ends of a test need.

use std::io::{self, Read, Write};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// A frame of text.
pub(crate) const TEXT: u8 = 1;
/// The frame that says goodbye.
pub(crate) const CLOSE: u8 = 8;
/// What a server adds to a client's key (§1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// What clients mask with (§5.3). Anything does.
const MASK: [u8; 4] = [7, 77, 177, 27];
/// The longest payload whose length stands in the second byte.
const SHORT: usize = 125;

/// What a server answers to a key.
pub(crate) fn accept(key: &str) -> String {
    let text = format!("{key}{GUID}");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    BASE64_STANDARD.encode(hash.as_ref())
}

/// A whole message in one frame. Clients mask what they send, servers do not (§5.1).
pub(crate) fn frame(opcode: u8, payload: &[u8], is_client: bool) -> Vec<u8> {
    assert!(payload.len() <= 0xffff, "longer frames are of no use here");
    let masked = if is_client { 0x80 } else { 0 };
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(short) if payload.len() <= SHORT => frame.push(masked | short),
        _ => {
            frame.push(masked | 0x7e);
            frame.extend(length.to_be_bytes());
        }
    }
    if is_client {
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}

/// The next frame: its opcode and its payload. `None` where the stream ends.
pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 2];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut length = usize::from(head[1] & 0x7f);
    if length > SHORT {
        let mut long = [0; 2];
        from.read_exact(&mut long)?;
        length = usize::from(u16::from_be_bytes(long));
    }
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        from.read_exact(&mut mask)?;
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some((head[0] & 0x0f, payload)))
}

/// Sends a frame.
pub(crate) fn write_frame(
    to: &mut impl Write,
    opcode: u8,
    payload: &[u8],
    is_client: bool,
) -> io::Result<()> {
    to.write_all(&frame(opcode, payload, is_client))
}
