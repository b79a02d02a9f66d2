//! What became of keys of another system, for people.

use keyreeve_api::ImportView;

use super::{
    canvas::Canvas,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[Column::Whole("ROW"), Column::Whole("FIELD"), Column::Free("RULE")];

/// What became of all rows in one line, then the refused ones.
pub(crate) fn outcome(view: &ImportView, canvas: &Canvas) -> String {
    let keys = if view.imported == 1 { "key" } else { "keys" };
    let done = if view.dry_run && view.refused == 0 {
        format!("would bring in {} {keys}", view.imported)
    } else if view.dry_run {
        format!("{} {keys} of {} are good", view.imported, view.rows.len())
    } else if view.stored {
        format!("brought in {} {keys}", view.imported)
    } else {
        "brought in nothing".to_owned()
    };
    if view.refused == 0 {
        return done;
    }
    let mut table = Table::new(COLUMNS);
    for row in &view.rows {
        let Some(rule) = &row.rule else { continue };
        let number = row.row.to_string();
        table.row([Cell::new(number), Cell::maybe(row.field.as_ref()), Cell::new(rule)]);
    }
    let rows = if view.refused == 1 { "row is" } else { "rows are" };
    format!("{done}; {} {rows} refused\n\n{}", view.refused, table.draw(canvas))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(json: &str) -> ImportView {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn refused_rows_are_listed() {
        let refused = view(
            r#"{"imported": 1, "refused": 1, "stored": false, "dry_run": false, "rows": [
                {"row": 1}, {"row": 2, "field": "hash", "rule": "must be a hash"}]}"#,
        );
        let expected = "\
brought in nothing; 1 row is refused

ROW  FIELD  RULE
2    hash   must be a hash";
        assert_eq!(outcome(&refused, &Canvas::for_tests()), expected);
    }

    #[test]
    fn good_rows_are_counted() {
        let mut good =
            view(r#"{"imported": 2, "refused": 0, "stored": true, "dry_run": false, "rows": []}"#);
        assert_eq!(outcome(&good, &Canvas::for_tests()), "brought in 2 keys");
        good.dry_run = true;
        assert_eq!(outcome(&good, &Canvas::for_tests()), "would bring in 2 keys");
    }
}
