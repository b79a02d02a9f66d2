//! Files with keys of another system. No error repeats what is in a file: a hash is as good as a
//! key to whoever can guess.

use std::{fs, path::Path};

use anyhow::{Context as _, anyhow, ensure};
use keyreeve_api::ImportRowRequest;

use crate::{cli::time::timestamp, failure::Advised};

const COLUMNS: [&str; 9] =
    ["name", "hash", "start", "owner", "roles", "permissions", "tags", "metadata", "expires_at"];

/// One row, or what is wrong with it: one bad row must not hide the others.
pub(super) type Row = Result<ImportRowRequest, Fault>;

/// What is wrong with a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The field that breaks a rule.
    pub(super) field: &'static str,
    /// The rule.
    pub(super) rule: String,
}

impl Fault {
    fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field, rule: rule.into() }
    }
}

/// Reads the rows of a file, by what its name ends in.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let shown = path.display();
    let extension = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    let parse: fn(&[u8]) -> anyhow::Result<Vec<Row>> =
        match extension.as_deref().and_then(|extension| extension.to_str()) {
            Some("csv") => from_csv,
            Some("json") => from_json,
            _ => {
                let hint = "`keyreeve key import --help` shows what is in them";
                let message = format!("{shown} must be a .csv or a .json file");
                return Err(Advised::new(message, hint).into());
            }
        };
    let bytes = fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let rows = parse(&bytes).with_context(|| format!("{shown} cannot be used"))?;
    ensure!(!rows.is_empty(), "there are no keys in {shown}");
    Ok(rows)
}

fn from_json(bytes: &[u8]) -> anyhow::Result<Vec<Row>> {
    // The reader's own account of an error may repeat a value.
    let rows: Vec<serde_json::Value> = serde_json::from_slice(bytes).map_err(|error| {
        anyhow!(
            "it must be a list of objects with name and hash: what is at line {} column {} is not",
            error.line(),
            error.column()
        )
    })?;
    let rule = "must be an object with name, hash and what else a row can have, each of its type";
    let row = |row| serde_json::from_value(row).map_err(|_| Fault::new("row", rule));
    Ok(rows.into_iter().map(row).collect())
}

fn from_csv(bytes: &[u8]) -> anyhow::Result<Vec<Row>> {
    // Spreadsheets put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let columns = columns(reader.headers().map_err(|_| anyhow!("its heading is not UTF-8 text"))?)?;
    let row = |record: csv::Result<csv::StringRecord>| {
        row(&columns, &record.map_err(|_| Fault::new("row", "must be UTF-8 text"))?)
    };
    Ok(reader.records().map(row).collect())
}

/// The columns in the order they stand in.
fn columns(heading: &csv::StringRecord) -> anyhow::Result<Vec<&'static str>> {
    let mut columns: Vec<&'static str> = Vec::new();
    for (place, name) in (1..).zip(heading) {
        let column = COLUMNS.into_iter().find(|column| *column == name);
        let column = column.filter(|column| !columns.contains(column)).with_context(|| {
            let known = COLUMNS.join(", ");
            format!("the heading of column {place} must be one of {known}, each at most once")
        })?;
        columns.push(column);
    }
    for needed in ["name", "hash"] {
        ensure!(columns.contains(&needed), "there must be a column {needed}");
    }
    Ok(columns)
}

fn row(columns: &[&str], record: &csv::StringRecord) -> Row {
    if record.len() != columns.len() {
        let rule = format!("must have {} fields, one for each column", columns.len());
        return Err(Fault::new("row", rule));
    }
    let mut row = ImportRowRequest::default();
    for (column, value) in columns.iter().zip(record) {
        let some = || (!value.is_empty()).then(|| value.to_owned());
        let list = || value.split_whitespace().map(str::to_owned).collect();
        match *column {
            "name" => value.clone_into(&mut row.name),
            "hash" => value.clone_into(&mut row.hash),
            "start" => row.start = some(),
            "owner" => row.owner = some(),
            "roles" => row.roles = list(),
            "permissions" => row.permissions = list(),
            "tags" => row.tags = list(),
            _ if value.is_empty() => {}
            "metadata" => {
                let object = serde_json::from_str(value);
                let rule = "must be a JSON object";
                row.metadata = object.map_err(|_| Fault::new("metadata", rule))?;
            }
            _ => {
                let at = timestamp(value);
                let fault = |rule: keyreeve_core::Invalid| Fault::new("expires_at", rule.rule());
                row.expires_at = Some(at.map_err(fault)?);
            }
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_with_all_columns_in_any_order() {
        let text = "\u{feff}hash,name,start,owner,roles,permissions,tags,expires_at,metadata\r\n\
                    ab12,\"Billing, \"\"EU\"\"\",kr_a,acme,viewer client,a.b c.*,eu,2026-12-21,\"{\"\"plan\"\":1}\"\r\n\
                    cd34,plain,,,,,,,\n";
        let rows = from_csv(text.as_bytes()).unwrap();
        let rows: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
        let expected = serde_json::json!([
            {
                "name": "Billing, \"EU\"",
                "hash": "ab12",
                "start": "kr_a",
                "owner": "acme",
                "roles": ["viewer", "client"],
                "permissions": ["a.b", "c.*"],
                "tags": ["eu"],
                "expires_at": "2026-12-21T00:00:00Z",
                "metadata": {"plan": 1},
            },
            {"name": "plain", "hash": "cd34"},
        ]);
        assert_eq!(serde_json::to_value(&rows).unwrap(), expected);
    }

    #[test]
    fn a_wrong_heading_is_told_without_repeating_it() {
        for (text, expected) in [
            ("name\ncanary\n", "there must be a column hash"),
            ("name,hash,canary\n", "the heading of column 3 must be one of name, hash"),
            ("name,hash,name\n", "the heading of column 3 must be one of name, hash"),
        ] {
            let error = format!("{:#}", from_csv(text.as_bytes()).unwrap_err());
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_bad_row_is_told_without_repeating_it_and_hides_no_other() {
        let text = b"name,hash,metadata,expires_at\n\
                     a,b,,\n\
                     canary\n\
                     a,b,canary,\n\
                     a,b,,canary\n\
                     a,\xff,,\n\
                     c,d,,2026-12-21\n";
        let rows = from_csv(text).unwrap();
        let fields: Vec<_> =
            rows.iter().map(|row| row.as_ref().err().map(|fault| fault.field)).collect();
        let expected = [None, Some("row"), Some("metadata"), Some("expires_at"), Some("row"), None];
        assert_eq!(fields, expected);
        for fault in rows.iter().filter_map(|row| row.as_ref().err()) {
            assert!(!fault.rule.contains("canary"), "{}", fault.rule);
        }
    }

    #[test]
    fn json_is_a_list_of_rows() {
        let good = r#"{"name": "a", "hash": "b", "metadata": {"x": 1}}"#;
        let rows = from_json(format!("[{good}]").as_bytes()).unwrap();
        let row = rows[0].as_ref().unwrap();
        assert_eq!((row.name.as_str(), row.metadata["x"].as_u64()), ("a", Some(1)));
        let rows = format!(r#"[{{"name": "a", "hash": "b", "canary": 1}}, {good}, "canary"]"#);
        let rows = from_json(rows.as_bytes()).unwrap();
        let good: Vec<bool> = rows.iter().map(Result::is_ok).collect();
        assert_eq!(good, [false, true, false]);
        for bad in [r#"{"name": "canary"}"#, "["] {
            let error = from_json(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("at line 1 column "), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_file_says_by_its_name_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.CSV"), "name,hash\na,b\n").unwrap();
        assert_eq!(read(&path("a.CSV")).unwrap().len(), 1);
        fs::write(path("a.json"), "[]").unwrap();
        assert!(read(&path("a.json")).unwrap_err().to_string().contains("there are no keys in"));
        let error = read(&path("a.txt")).unwrap_err().to_string();
        assert!(error.ends_with("must be a .csv or a .json file"), "{error}");
        let error = read(&path("b.csv")).unwrap_err().to_string();
        assert!(error.ends_with("b.csv cannot be read"), "{error}");
    }
}
