//! Percentages, to a tenth.

use std::fmt;

use crate::limit::parse_count;

/// `12%` or `12.5%`, in thousandths.
pub fn parse_per_mille(text: &str) -> Option<u16> {
    let number = text.strip_suffix('%')?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    if tenths.len() != 1 {
        return None;
    }
    let per_mille = parse_count(whole)?.checked_mul(10)?.checked_add(parse_count(tenths)?)?;
    u16::try_from(per_mille).ok()
}

/// So many thousandths, shown as a percentage without its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMille(pub u16);

impl fmt::Display for PerMille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, tenths) => write!(f, "{whole}.{tenths}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_shown() {
        for (text, per_mille) in [("0%", 0), ("12%", 120), ("33.3%", 333), ("400%", 4_000)] {
            assert_eq!(parse_per_mille(text), Some(per_mille));
            assert_eq!(format!("{}%", PerMille(per_mille)), text);
        }
        for bad in ["", "%", "12", "1.25%", "-1%", "+1%", "12.%", "7000%"] {
            assert_eq!(parse_per_mille(bad), None, "{bad}");
        }
    }
}
