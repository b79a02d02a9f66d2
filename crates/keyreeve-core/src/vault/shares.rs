//! A root key in shares, of which some number is needed to get it back, and fewer tell nothing of it:
//! Adi Shamir, "How to Share a Secret", Communications of the ACM 22 (1979), 612-613, over the field of
//! 256 elements that AES uses (FIPS 197, section 4).

use std::{collections::BTreeMap, fmt, str::FromStr};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use zeroize::Zeroize as _;

use super::RootKey;
use crate::{Invalid, Secret};

/// Length of the key that is split, in bytes.
const KEY: usize = 32;
/// Bytes that tell mistyped shares.
const CHECK: usize = 4;
/// Set, threshold, number, the share itself, check.
const ENCODED: usize = SET + 2 + KEY + CHECK;
/// Length of what tells the shares of one splitting from those of another, in bytes.
const SET: usize = 4;
/// What stands before a share, so that nobody takes it for anything else.
const LABEL: &str = "keyreeve-share:1:";

/// How many shares there are, and how many are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareCounts {
    shares: u8,
    threshold: u8,
}

impl ShareCounts {
    /// 2 to 255 shares, of which 2 to all are needed.
    pub fn new(shares: u8, threshold: u8) -> Result<Self, Invalid> {
        if shares < 2 {
            return Err(Invalid::new("must be at least 2 shares"));
        }
        if !(2..=shares).contains(&threshold) {
            return Err(Invalid::new("must need 2 shares to all of them"));
        }
        Ok(Self { shares, threshold })
    }

    /// How many there are.
    pub fn shares(self) -> u8 {
        self.shares
    }

    /// How many are needed.
    pub fn threshold(self) -> u8 {
        self.threshold
    }
}

/// One share.
pub struct Share {
    set: [u8; SET],
    threshold: u8,
    /// From 1: at 0 is the key itself.
    number: u8,
    bytes: Secret<[u8; KEY]>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({})", self.number)
    }
}

impl Share {
    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Whether both come from one splitting.
    pub fn belongs_with(&self, other: &Self) -> bool {
        self.set == other.set && self.threshold == other.threshold
    }

    /// How many like it are needed.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// As it is handed out.
    pub fn to_text(&self) -> Secret<String> {
        let mut bytes = [0; ENCODED];
        bytes[..SET].copy_from_slice(&self.set);
        bytes[SET] = self.threshold;
        bytes[SET + 1] = self.number;
        // EXPOSE: handed out to whoever keeps this share.
        bytes[SET + 2..SET + 2 + KEY].copy_from_slice(self.bytes.expose());
        let check = check(&bytes[..ENCODED - CHECK]);
        bytes[ENCODED - CHECK..].copy_from_slice(&check);
        let mut text = String::with_capacity(LABEL.len() + ENCODED * 2);
        text.push_str(LABEL);
        BASE64_STANDARD_NO_PAD.encode_string(bytes, &mut text);
        bytes.zeroize();
        Secret::new(text)
    }
}

impl FromStr for Share {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let not_a_share = || Invalid::new("is not a share, or was mistyped");
        let text = text.trim().strip_prefix(LABEL).ok_or_else(not_a_share)?;
        let decoded = BASE64_STANDARD_NO_PAD.decode(text).map_err(|_| not_a_share())?;
        let decoded = Secret::new(decoded);
        // EXPOSE: taken apart.
        let bytes: &[u8; ENCODED] =
            decoded.expose().as_slice().try_into().map_err(|_| not_a_share())?;
        let (content, sum) = bytes.split_at(ENCODED - CHECK);
        if check(content) != sum || content[SET] < 2 || content[SET + 1] == 0 {
            return Err(not_a_share());
        }
        let (mut set, mut key) = ([0; SET], Secret::new([0; KEY]));
        set.copy_from_slice(&content[..SET]);
        // EXPOSE: written into.
        key.expose_mut().copy_from_slice(&content[SET + 2..]);
        Ok(Self { set, threshold: content[SET], number: content[SET + 1], bytes: key })
    }
}

/// The first bytes of SHA-256.
fn check(content: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&digest::digest(&digest::SHA256, content).as_ref()[..CHECK]);
    check
}

/// Splits a root key. `random` gives fresh randomness for each coefficient of the polynomials, and for
/// the name of the set.
pub fn split<E>(
    root: &RootKey,
    counts: ShareCounts,
    mut random: impl FnMut() -> Result<[u8; KEY], E>,
) -> Result<Vec<Share>, E> {
    let mut set = [0; SET];
    set.copy_from_slice(&random()?[..SET]);
    let mut coefficients = Vec::with_capacity(usize::from(counts.threshold) - 1);
    for _ in 1..counts.threshold {
        coefficients.push(Secret::new(random()?));
    }
    let share = |number| {
        let mut bytes = Secret::new([0; KEY]);
        for at in 0..KEY {
            // Horner's rule, from the highest power down to the key itself.
            // EXPOSE: the arithmetic of the shares.
            let higher = coefficients.iter().rev().map(|coefficient| coefficient.expose()[at]);
            let sum = higher.fold(0, |sum, coefficient| multiply(sum ^ coefficient, number));
            // EXPOSE: the arithmetic of the shares.
            bytes.expose_mut()[at] = sum ^ root.bytes().expose()[at];
        }
        Share { set, threshold: counts.threshold, number, bytes }
    };
    Ok((1..=counts.shares).map(share).collect())
}

/// Puts shares together. Whether the key is the right one shows when it is used.
pub fn combine(shares: &[Share]) -> Result<RootKey, Invalid> {
    let Some(first) = shares.first() else { return Err(Invalid::new("must be at least 2 shares")) };
    if !shares.iter().all(|share| share.belongs_with(first)) {
        return Err(Invalid::new("must be shares of one splitting"));
    }
    let different: BTreeMap<u8, &Share> = shares.iter().map(|it| (it.number, it)).collect();
    if different.len() < usize::from(first.threshold) {
        return Err(Invalid::new("must be as many different shares as are needed"));
    }
    let mut key = Secret::new([0; KEY]);
    for (number, share) in &different {
        // Lagrange's polynomial of this share, at 0.
        let others = different.keys().filter(|other| *other != number);
        let weight =
            others.fold(1, |weight, other| multiply(weight, divide(*other, *other ^ *number)));
        for at in 0..KEY {
            // EXPOSE: the arithmetic of the shares.
            key.expose_mut()[at] ^= multiply(share.bytes.expose()[at], weight);
        }
    }
    Ok(RootKey::new(key))
}

/// The product, without a branch or a table that its factors could show by.
fn multiply(mut one: u8, other: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= one & 0_u8.wrapping_sub((other >> bit) & 1);
        let carry = 0_u8.wrapping_sub(one >> 7);
        one = (one << 1) ^ (carry & 0x1b);
    }
    product
}

/// The quotient: the divisor to the power of 254 is its inverse. The divisor is not 0.
fn divide(one: u8, by: u8) -> u8 {
    // 254 = 2 + 4 + 8 + 16 + 32 + 64 + 128.
    let (mut square, mut inverse) = (multiply(by, by), 1);
    for _ in 0..7 {
        inverse = multiply(inverse, square);
        square = multiply(square, square);
    }
    multiply(one, inverse)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn split_with(key: [u8; KEY], shares: u8, threshold: u8, seed: u8) -> Vec<Share> {
        let mut state = seed;
        let random = || {
            Ok::<_, Infallible>(std::array::from_fn(|_| {
                state = state.wrapping_mul(167).wrapping_add(41);
                state
            }))
        };
        let root = RootKey::new(Secret::new(key));
        split(&root, ShareCounts::new(shares, threshold).unwrap(), random).unwrap()
    }

    #[test]
    fn the_field_is_that_of_aes() {
        // FIPS 197, section 4.2.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        for number in 1..=255 {
            assert_eq!(multiply(number, divide(1, number)), 1);
        }
    }

    #[test]
    fn mistakes_are_told() {
        let shares = split_with([7; KEY], 3, 2, 1);
        let other = split_with([7; KEY], 3, 2, 9);
        assert!(combine(&shares[..1]).is_err());
        assert!(combine(&[]).is_err());
        let text = shares[0].to_text();
        let again = [text.expose(), text.expose()].map(|text| text.parse::<Share>().unwrap());
        assert!(combine(&again).is_err(), "one share twice");
        let mixed = [text.expose().parse().unwrap(), other[1].to_text().expose().parse().unwrap()];
        assert!(combine(&mixed).is_err(), "of two splittings");
        for bad in ["", "keyreeve-share:1:", "keyreeve-share:1:AAAA", "share"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        let mistyped = text.expose().replace('A', "B");
        assert!(mistyped == *text.expose() || mistyped.parse::<Share>().is_err());
        for (shares, threshold) in [(1, 1), (3, 1), (3, 4), (0, 0)] {
            assert!(ShareCounts::new(shares, threshold).is_err());
        }
    }

    #[test]
    fn nothing_is_shown() {
        let shares = split_with([7; KEY], 3, 2, 1);
        assert_eq!(format!("{:?}", shares[0]), "Share(1)");
    }

    proptest! {
        #[test]
        fn enough_shares_give_the_key_and_fewer_another(
            key in any::<[u8; KEY]>(),
            (shares, threshold) in (2_u8..12).prop_flat_map(|n| (Just(n), 2..=n)),
            seed in any::<u8>(),
            first in any::<proptest::sample::Index>(),
        ) {
            let split = split_with(key, shares, threshold, seed);
            let mut texts: Vec<Share> =
                split.iter().map(|share| share.to_text().expose().parse().unwrap()).collect();
            let first = first.index(texts.len());
            texts.rotate_left(first);
            texts.truncate(usize::from(threshold));
            let combined = combine(&texts).unwrap();
            prop_assert_eq!(combined.bytes().expose(), &key);
            texts.pop();
            prop_assert!(combine(&texts).is_err());
        }
    }
}
