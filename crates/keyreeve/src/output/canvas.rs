//! What drawing depends on: colour, width and the time.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use keyreeve_core::lifecycle::KeyState;

use super::moment;

/// What drawing depends on.
#[derive(Clone, Debug)]
pub(crate) struct Canvas {
    coloured: bool,
    width: Option<u16>,
    now: Timestamp,
}

/// What colour says about a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Needs a look.
    Warning,
    /// Refused.
    Bad,
    /// Of less weight.
    Faint,
}

impl Canvas {
    /// Without a width, lines are as wide as the terminal, or as needed where there is none.
    pub(crate) fn new(coloured: bool, width: Option<u16>, now: Timestamp) -> Self {
        Self { coloured, width, now }
    }

    /// Whether to use colours.
    pub(crate) fn coloured(&self) -> bool {
        self.coloured
    }

    /// How wide lines may be, if that is not for the terminal to say.
    pub(crate) fn width(&self) -> Option<u16> {
        self.width
    }

    /// When the program was started.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// A point in time, and how far it is from now.
    pub(crate) fn moment(&self, at: Timestamp) -> String {
        moment::both(at, self.now)
    }

    /// How far a point in time is from now.
    pub(crate) fn distance(&self, at: Timestamp) -> String {
        moment::relative(at, self.now)
    }

    /// Text in a tone.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        if !self.coloured || tone == Tone::Plain {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

impl Tone {
    /// The tone of a key's state, as the wire names it.
    pub(crate) fn of_state(state: &str) -> Self {
        match KeyState::named(state) {
            Some(KeyState::Active) => Self::Good,
            Some(KeyState::Rotating) => Self::Warning,
            Some(KeyState::Disabled | KeyState::Expired | KeyState::Deleted) => Self::Faint,
            Some(KeyState::Revoked) => Self::Bad,
            None => Self::Plain,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

#[cfg(test)]
impl Canvas {
    /// Without colour, 100 columns wide, on the morning of 2026-11-21.
    pub(crate) fn for_tests() -> Self {
        let now = "2026-11-21T09:00:00Z".parse().unwrap();
        Self::new(false, Some(100), now)
    }

    /// As [`Canvas::for_tests`], wide enough for every table.
    pub(crate) fn wide() -> Self {
        Self { width: Some(200), ..Self::for_tests() }
    }

    /// As [`Canvas::for_tests`], with colour.
    pub(crate) fn in_colour() -> Self {
        Self { coloured: true, ..Self::for_tests() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_their_colours() {
        let canvas = Canvas::in_colour();
        for (state, expected) in [
            ("active", "\u{1b}[32mactive\u{1b}[0m"),
            ("rotating", "\u{1b}[33mrotating\u{1b}[0m"),
            ("revoked", "\u{1b}[31mrevoked\u{1b}[0m"),
            ("disabled", "\u{1b}[2mdisabled\u{1b}[0m"),
            ("expired", "\u{1b}[2mexpired\u{1b}[0m"),
            ("of tomorrow", "of tomorrow"),
        ] {
            assert_eq!(canvas.paint(state, Tone::of_state(state)), expected);
        }
        assert_eq!(Canvas::for_tests().paint("active", Tone::Good), "active");
    }
}
