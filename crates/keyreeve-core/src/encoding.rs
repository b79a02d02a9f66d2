//! Bytes as text.

use std::fmt::Write as _;

/// Two lower-case hexadecimal digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Adds bytes to a text: unreserved ones as they are, all others as `%XX` (RFC 3986 §2).
pub fn push_percent_encoded(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// The bytes that a text stands for, with `%XX` undone; what is no escape stays as it is.
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)));
        if let (b'%', Some((high, low))) = (byte, pair) {
            decoded.push(u8::try_from(high << 4 | low).unwrap_or_default());
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text() {
        assert_eq!(hex(&[0, 0x0f, 0xff]), "000fff");
        let mut text = "a=".to_owned();
        push_percent_encoded(&mut text, "b c/~\u{e4}".as_bytes());
        assert_eq!(text, "a=b%20c%2F~%C3%A4");
        assert_eq!(percent_decoded(&text), "a=b c/~\u{e4}".as_bytes());
        assert_eq!(percent_decoded("100%+%zz%4"), b"100%+%zz%4");
    }
}
