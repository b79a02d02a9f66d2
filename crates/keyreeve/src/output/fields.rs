//! One thing, as a list of labels and values.

use super::{
    canvas::{Canvas, Tone},
    printable::printable,
};

/// Labels and values, in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<Field>);

#[derive(Debug)]
struct Field {
    label: &'static str,
    value: String,
    tone: Tone,
}

impl Fields {
    /// A value.
    pub(crate) fn add(&mut self, label: &'static str, value: impl AsRef<str>) -> &mut Self {
        self.toned(label, value, Tone::Plain)
    }

    /// A value in a tone.
    pub(crate) fn toned(
        &mut self,
        label: &'static str,
        value: impl AsRef<str>,
        tone: Tone,
    ) -> &mut Self {
        let value = printable(value.as_ref()).into_owned();
        self.0.push(Field { label, value, tone });
        self
    }

    /// A value, if there is one.
    pub(crate) fn maybe(
        &mut self,
        label: &'static str,
        value: Option<impl AsRef<str>>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.add(label, value);
        }
        self
    }

    /// Several values on one line, if there are any.
    pub(crate) fn list(&mut self, label: &'static str, values: &[String]) -> &mut Self {
        if !values.is_empty() {
            self.add(label, values.join(", "));
        }
        self
    }

    /// A JSON object, if it holds anything.
    pub(crate) fn object(
        &mut self,
        label: &'static str,
        object: &keyreeve_api::MetadataView,
    ) -> &mut Self {
        if !object.is_empty() {
            self.add(label, serde_json::to_string(object).unwrap_or_default());
        }
        self
    }

    /// The list as text, one line a value.
    pub(crate) fn draw(&self, canvas: &Canvas) -> String {
        let width = self.0.iter().map(|field| field.label.len()).max().unwrap_or(0);
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|Field { label, value, tone }| {
                format!("{label:width$}  {}", canvas.paint(value, *tone))
            })
            .collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_under_one_another() {
        let mut fields = Fields::default();
        fields.add("id", "4Tn0Zs8QbW1c").maybe("owner", None::<String>);
        fields.list("roles", &["viewer".to_owned(), "client".to_owned()]).list("tags", &[]);
        fields.toned("state", "active", Tone::Good).add("agent", "curl\u{1b}[2J");
        let expected = "id     4Tn0Zs8QbW1c\nroles  viewer, client\nstate  active\nagent  curl�[2J";
        assert_eq!(fields.draw(&Canvas::for_tests()), expected);
        assert!(fields.draw(&Canvas::in_colour()).contains("\u{1b}[32mactive"));
    }
}
