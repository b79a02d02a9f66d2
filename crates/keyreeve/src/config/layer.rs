//! The sources of settings, each in one form.

use std::{fs, io::ErrorKind, net::SocketAddr, path::PathBuf};

use figment::{
    Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    util::nest,
    value::{Dict, Map, Value},
};

use super::{DEFAULTS, Sources, fault::Faults};

/// In the defaults: a section of whatever name, of which there may be any number.
const ANY_NAME: &str = "*";
/// What the names of environment variables begin with.
const PREFIX: &str = "KEYREEVE_";

/// The file with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    /// Somebody named it: it must be there.
    Named(PathBuf),
    /// Read if it is there.
    Usual(PathBuf),
}

/// Settings given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `--data-dir`, or its variable.
    pub(crate) data_dir: Option<PathBuf>,
    /// `--listen`.
    pub(crate) listen: Option<SocketAddr>,
    /// `--threads`.
    pub(crate) threads: Option<u16>,
}

/// Settings out of one source.
pub(super) struct Layer {
    /// The source, as errors name it.
    origin: String,
    settings: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

/// All sources, weakest first. What does not have the shape of the defaults is a fault.
pub(super) fn all<V>(sources: Sources<V>, faults: &mut Faults) -> Vec<Layer>
where
    V: IntoIterator<Item = (String, String)>,
{
    let Some(defaults) = parse(DEFAULTS, "the defaults", faults) else {
        return Vec::new();
    };
    let shape = defaults.settings.clone();
    let mut layers = vec![defaults];
    layers.extend(file(&sources.file, faults));
    layers.extend(variables(sources.variables, &shape, faults));
    layers.extend(flags(&sources.flags, faults));
    for layer in layers.iter().skip(1) {
        check("", &layer.settings, &shape, &layer.origin, faults);
    }
    fill_named(&shape, &mut layers);
    layers
}

/// Gives the sections that people name the defaults of their kind, which stand under `*`.
fn fill_named(shape: &Dict, layers: &mut [Layer]) {
    for (section, value) in shape {
        if value.as_dict().is_none_or(|dict| !dict.contains_key(ANY_NAME)) {
            continue;
        }
        // What a layer says of all counts for each, unless that says something else.
        let mut model = Dict::new();
        for layer in layers.iter_mut() {
            let sections = layer.settings.get_mut(section);
            if let Some(Value::Dict(_, sections)) = sections
                && let Some(Value::Dict(_, of_all)) = sections.remove(ANY_NAME)
            {
                model.extend(of_all);
            }
        }
        let model = Value::from(model);
        let own = layers.iter().filter_map(|layer| layer.settings.get(section)?.as_dict());
        let filled: Dict =
            own.flat_map(Dict::keys).map(|name| (name.clone(), model.clone())).collect();
        if let Some(defaults) = layers.first_mut() {
            defaults.settings.insert(section.clone(), Value::from(filled));
        }
    }
}

/// Whether people may call a section so.
fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

/// The file's settings, if there is a file.
fn file(file: &ConfigFile, faults: &mut Faults) -> Option<Layer> {
    let (ConfigFile::Named(path) | ConfigFile::Usual(path)) = file;
    let origin = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, &origin, faults),
        Err(error)
            if error.kind() == ErrorKind::NotFound && matches!(file, ConfigFile::Usual(_)) =>
        {
            None
        }
        Err(error) => {
            faults.push(origin, "cannot be read", &error.to_string());
            None
        }
    }
}

/// Settings written as TOML. The parser's own account of an error repeats the line it is in, so
/// only its message is used.
fn parse(text: &str, origin: &str, faults: &mut Faults) -> Option<Layer> {
    match Toml::from_str::<Dict>(text) {
        Ok(settings) => Some(Layer { origin: origin.to_owned(), settings }),
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = error.message().replace('\n', ", ");
            faults.push(format!("{origin} line {line}"), "is not TOML", &message);
            None
        }
    }
}

/// One layer a variable, so that an error can name it.
fn variables(
    pairs: impl IntoIterator<Item = (String, String)>,
    shape: &Dict,
    faults: &mut Faults,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (name, text) in pairs {
        // One underscore alone is no setting: KEYREEVE_TOKEN, KEYREEVE_URL and their like.
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
            continue;
        };
        let key = rest.to_ascii_lowercase().replace("__", ".");
        match typed(&text, find(shape, &key)) {
            Ok(value) => layers.extend(layer(name, &key, value)),
            Err(rule) => faults.push(key, rule, &name),
        }
    }
    layers
}

/// The value of a variable in the type of the setting.
fn typed(text: &str, model: Option<&Value>) -> Result<Value, &'static str> {
    match model {
        Some(Value::String(..)) => Ok(Value::from(text)),
        Some(Value::Num(..)) => {
            text.trim().parse::<i64>().map(Value::from).map_err(|_| "must be a whole number")
        }
        Some(Value::Array(..)) => {
            let items: Vec<String> = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect();
            Ok(Value::from(items))
        }
        Some(Value::Dict(..)) => Err("is a section: a variable names a setting in it"),
        _ => Err("is not a setting"),
    }
}

fn flags(flags: &Flags, faults: &mut Faults) -> Vec<Layer> {
    let mut layers = Vec::new();
    if let Some(data_dir) = &flags.data_dir {
        let origin = "--data-dir or KEYREEVE_DATA_DIR".to_owned();
        match data_dir.to_str() {
            Some(text) => layers.extend(layer(origin, "store.data_dir", Value::from(text))),
            None => faults.push("store.data_dir", "must be UTF-8 text", &origin),
        }
    }
    if let Some(listen) = flags.listen {
        let value = Value::from(listen.to_string());
        layers.extend(layer("--listen".to_owned(), "server.listen", value));
    }
    if let Some(threads) = flags.threads {
        layers.extend(layer("--threads".to_owned(), "server.threads", Value::from(threads)));
    }
    layers
}

/// A layer of one setting.
fn layer(origin: String, key: &str, value: Value) -> Option<Layer> {
    nest(key, value).into_dict().map(|settings| Layer { origin, settings })
}

/// Finds the setting of that dotted name.
fn find<'a>(shape: &'a Dict, key: &str) -> Option<&'a Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
    let value = shape.get(first).or_else(|| shape.get(ANY_NAME))?;
    match rest {
        Some(rest) => find(value.as_dict()?, rest),
        None => Some(value),
    }
}

/// Compares a layer with the defaults, which hold every setting.
fn check(prefix: &str, settings: &Dict, shape: &Dict, origin: &str, faults: &mut Faults) {
    for (name, value) in settings {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let named = shape.get(ANY_NAME).filter(|_| !shape.contains_key(name) || name == ANY_NAME);
        if named.is_some() && !is_name(name) && name != ANY_NAME {
            let rule = "must be called by 1 to 32 characters of a-z, 0-9, '-' and '_'";
            faults.push(key, rule, origin);
            continue;
        }
        let wrong = match (value, named.or_else(|| shape.get(name))) {
            (Value::Dict(_, inner), Some(Value::Dict(_, shape))) => {
                check(&key, inner, shape, origin, faults);
                continue;
            }
            (Value::String(..), Some(Value::String(..))) => continue,
            (Value::Num(_, number), Some(Value::Num(..))) if number.to_f64().is_none() => continue,
            (Value::Array(_, items), Some(Value::Array(..)))
                if items.iter().all(|item| item.as_str().is_some()) =>
            {
                continue;
            }
            (_, Some(Value::Dict(..))) => "is a section of settings",
            (_, Some(Value::String(..))) => "must be text in quotes",
            (_, Some(Value::Num(..))) => "must be a whole number",
            (_, Some(Value::Array(..))) => "must be a list of texts",
            _ => {
                let known: Vec<&str> = shape.keys().map(String::as_str).collect();
                let rule = format!("is not a setting; there are {}", known.join(", "));
                faults.push(key, &rule, origin);
                continue;
            }
        };
        faults.push(key, wrong, origin);
    }
}
