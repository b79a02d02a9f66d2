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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text() {
        assert_eq!(hex(&[0, 0x0f, 0xff]), "000fff");
        let mut text = "a=".to_owned();
        push_percent_encoded(&mut text, "b c/~\u{e4}".as_bytes());
        assert_eq!(text, "a=b%20c%2F~%C3%A4");
    }
}
