//! Many things, as a table.

use comfy_table::{
    Attribute, Cell as Drawn, Color, ColumnConstraint, ContentArrangement, Table as Drawing,
    presets,
};

use super::{
    canvas::{Canvas, Tone},
    printable::printable,
};

/// A table of things.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

/// A column, with its heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Never broken over lines: ids and states, which people copy and search for.
    Whole(&'static str),
    /// Broken over lines where the terminal is narrow.
    Free(&'static str),
}

/// A value in a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a thing.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text. A table of nothing is no text.
    pub(crate) fn draw(&self, canvas: &Canvas) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut drawing = Drawing::new();
        drawing.load_style(presets::NOTHING);
        drawing.set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = canvas.width() {
            drawing.force_no_tty().set_width(width);
        }
        if canvas.coloured() {
            drawing.enforce_styling();
        }
        let heading = self.columns.iter().map(|column| bold(column.heading(), canvas));
        drawing.set_header(heading);
        for row in &self.rows {
            drawing.add_row(row.iter().map(|cell| cell.drawn(canvas)));
        }
        for (column, drawn) in self.columns.iter().zip(drawing.column_iter_mut()) {
            drawn.set_padding((0, 2));
            if matches!(column, Column::Whole(_)) {
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        drawing.trim_fmt()
    }
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Whole(heading) | Self::Free(heading) => heading,
        }
    }
}

impl Cell {
    /// A value.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// A value in a tone.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()).into_owned(), tone }
    }

    /// A value, or a dash where there is none.
    pub(crate) fn maybe(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(|| Self::toned("-", Tone::Faint), Self::new)
    }

    /// Several values, or a dash where there is none.
    pub(crate) fn list(texts: &[String]) -> Self {
        Self::maybe((!texts.is_empty()).then(|| texts.join(", ")))
    }

    fn drawn(&self, canvas: &Canvas) -> Drawn {
        let drawn = Drawn::new(&self.text);
        if !canvas.coloured() {
            return drawn;
        }
        match self.tone {
            Tone::Plain => drawn,
            Tone::Good => drawn.fg(Color::DarkGreen),
            Tone::Warning => drawn.fg(Color::DarkYellow),
            Tone::Bad => drawn.fg(Color::DarkRed),
            Tone::Faint => drawn.add_attribute(Attribute::Dim),
        }
    }
}

fn bold(text: &str, canvas: &Canvas) -> Drawn {
    let drawn = Drawn::new(text);
    if canvas.coloured() { drawn.add_attribute(Attribute::Bold) } else { drawn }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::Whole("ID"), Column::Free("NAME"), Column::Whole("STATE")];

    fn table() -> Table {
        let mut table = Table::new(COLUMNS);
        table.row([
            Cell::new("a1"),
            Cell::new("billing service"),
            Cell::toned("active", Tone::Good),
        ]);
        table.row([Cell::new("b22"), Cell::maybe(None::<&str>), Cell::toned("revoked", Tone::Bad)]);
        table
    }

    #[test]
    fn columns_stand_under_their_headings() {
        let expected = "\
ID   NAME             STATE
a1   billing service  active
b22  -                revoked";
        assert_eq!(table().draw(&Canvas::for_tests()), expected);
    }

    #[test]
    fn colours_only_where_wanted() {
        assert!(!table().draw(&Canvas::for_tests()).contains('\u{1b}'));
        assert!(table().draw(&Canvas::in_colour()).contains("\u{1b}["));
    }

    #[test]
    fn nothing_is_no_table() {
        assert_eq!(Table::new(COLUMNS).draw(&Canvas::for_tests()), "");
    }
}
