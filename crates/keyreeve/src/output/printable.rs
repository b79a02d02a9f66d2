//! Text from elsewhere, made safe to show on a terminal.

use std::borrow::Cow;

/// Puts `�` in the place of characters that act on a terminal instead of being seen: control
/// characters, and those that turn the direction of text around. A user agent or a name is chosen
/// by strangers; it must not move the cursor or hide what stands beside it.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(acts) {
        Cow::Owned(text.replace(acts, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// As [`printable`], but lines stay lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    let acts_besides = |c: char| c != '\n' && acts(c);
    if text.contains(acts_besides) {
        Cow::Owned(text.replace(acts_besides, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_replaced() {
        assert_eq!(printable("Größe 北京 🔑"), "Größe 北京 🔑");
        assert_eq!(printable("a\u{1b}[31mb\r\nc\u{202e}d\u{9b}e"), "a�[31mb��c�d�e");
        assert_eq!(printable_lines("a\nb\u{7}\n"), "a\nb�\n");
    }
}
