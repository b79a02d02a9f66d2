//! Base 62 with the alphabet `0-9A-Za-z`, fixed width, most significant digit first.
//!
//! Double-clicking such text selects all of it, and it needs no escaping in a URL, a shell or a
//! configuration file.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether every byte is a base 62 digit. Without an early end, bytes are looked at many at a time.
pub(super) fn is_base62(text: &[u8]) -> bool {
    text.iter().fold(true, |so_far, byte| so_far & byte.is_ascii_alphanumeric())
}

/// Writes `value` into all of `out`, padded with `0` on the left.
///
/// Digits that do not fit are dropped from the left, so callers choose a width that holds the
/// largest value, or want the remainder.
pub(super) fn encode_u128(mut value: u128, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
}

/// Writes a 32-bit number into six digits, as [`encode_u128`] does, which divides ten times as slowly.
/// 62^6 > 2^32, so nothing is lost.
pub(super) fn encode_u32(mut value: u32) -> [u8; 6] {
    let mut out = [b'0'; 6];
    for digit in out.iter_mut().rev() {
        *digit = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
    out
}

/// Writes the 256-bit big-endian number into 43 digits. 62^43 > 2^256, so nothing is lost and
/// every number has exactly one text.
pub(super) fn encode_256(bytes: &[u8; 32]) -> [u8; 43] {
    let mut limbs = [0u32; 8];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *limb = u32::from_be_bytes(*chunk);
    }
    let mut out = [b'0'; 43];
    for digit in out.iter_mut().rev() {
        let mut remainder = 0u64;
        for limb in &mut limbs {
            let value = (remainder << 32) | u64::from(*limb);
            // The quotient of a value below 62 * 2^32 by 62 fits 32 bits.
            *limb = u32::try_from(value / 62).unwrap_or(u32::MAX);
            remainder = value % 62;
        }
        *digit = ALPHABET[usize::try_from(remainder).unwrap_or(0)];
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &[u8]) -> Vec<u8> {
        // Schoolbook, byte by byte, as an independent way back.
        let mut bytes = vec![0u8; 33];
        for digit in text {
            let value = ALPHABET.iter().position(|c| c == digit).unwrap();
            let mut carry = value;
            for byte in bytes.iter_mut().rev() {
                let sum = usize::from(*byte) * 62 + carry;
                *byte = u8::try_from(sum & 0xff).unwrap();
                carry = sum >> 8;
            }
            assert_eq!(carry, 0);
        }
        bytes
    }

    #[test]
    fn edges() {
        assert_eq!(&encode_256(&[0; 32]), &[b'0'; 43]);
        let mut out = [0; 6];
        encode_u128(u128::from(u32::MAX), &mut out);
        assert_eq!(&out, b"4gfFC3");
        encode_u128(61, &mut out);
        assert_eq!(&out, b"00000z");
        assert_eq!([0, 61, u32::MAX].map(encode_u32), [*b"000000", *b"00000z", *b"4gfFC3"]);
    }

    proptest! {
        #[test]
        fn encode_256_loses_nothing(bytes: [u8; 32]) {
            let text = encode_256(&bytes);
            prop_assert!(is_base62(&text));
            prop_assert_eq!(&decode(&text)[1..], &bytes[..]);
        }
    }
}
