//! All providers together.

use std::collections::{BTreeMap, HashMap};

use crate::{
    load::{Source, load},
    place::{Mistake, Place},
    provider::{Credential, Evidence, Provider},
};

/// All providers, found by id, by the form of a value and by the name of a variable.
#[derive(Debug)]
pub struct Catalog {
    providers: BTreeMap<String, Provider>,
    /// What the files say, as JSON, by id.
    documents: BTreeMap<String, serde_json::Value>,
    /// Variable to provider and credential.
    by_variable: HashMap<String, (String, usize)>,
}

/// A credential of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Known<'c> {
    /// Whose it is.
    pub provider: &'c Provider,
    /// What it is.
    pub credential: &'c Credential,
}

impl Known<'_> {
    /// As `provider.credential`, the way files name it.
    pub fn name(&self) -> String {
        format!("{}.{}", self.provider.id, self.credential.id)
    }
}

impl PartialEq for Known<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.provider.id == other.provider.id && self.credential.id == other.credential.id
    }
}

impl Catalog {
    /// Reads files, given by name and text; a later file takes the place of an earlier one with the
    /// same id.
    pub fn load<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        for (file, text) in files {
            match load(file, text) {
                Ok(source) => drop(sources.insert(source.provider.id.clone(), source)),
                Err(more) => mistakes.extend(more),
            }
        }
        if mistakes.is_empty() {
            mistakes = between(&sources);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self::of(sources))
    }

    /// The files that the program carries, by name and text.
    pub fn built_in_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        crate::embedded::FILES.iter().copied()
    }

    /// The catalogue that the program carries.
    pub fn built_in() -> Result<Self, Vec<Mistake>> {
        Self::load(Self::built_in_files())
    }

    fn of(sources: BTreeMap<String, Source>) -> Self {
        let mut by_variable = HashMap::new();
        for Source { provider, .. } in sources.values() {
            for (index, credential) in provider.credentials.iter().enumerate() {
                for variable in &credential.variables {
                    let place = (provider.id.clone(), index);
                    by_variable.insert(variable.to_ascii_uppercase(), place);
                }
            }
        }
        let (mut providers, mut documents) = (BTreeMap::new(), BTreeMap::new());
        for (id, source) in sources {
            documents.insert(id.clone(), source.json());
            providers.insert(id, source.provider);
        }
        Self { providers, documents, by_variable }
    }

    /// All providers in the order of their ids.
    pub fn providers(&self) -> impl ExactSizeIterator<Item = &Provider> {
        self.providers.values()
    }

    /// The provider of that id.
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.get(id)
    }

    /// What a provider's file says, as JSON.
    pub fn document(&self, id: &str) -> Option<&serde_json::Value> {
        self.documents.get(id)
    }

    /// A credential by provider and id.
    pub fn credential(&self, provider: &str, credential: &str) -> Option<Known<'_>> {
        let provider = self.providers.get(provider)?;
        let credential = provider.credential(credential)?;
        Some(Known { provider, credential })
    }

    /// What a value is by its form alone.
    pub fn by_form(&self, value: &str) -> Option<Known<'_>> {
        let mut found: Option<Known<'_>> = None;
        for known in self.all() {
            let credential = known.credential;
            if credential.evidence != Evidence::Format
                || !credential.keyword_in(value)
                || !credential.matches(value)
            {
                continue;
            }
            let better = found.is_none_or(|best| credential.before.contains(&best.name()));
            if better {
                found = Some(known);
            }
        }
        found
    }

    /// What a variable of that name usually holds: the name itself, or one that ends in it, as
    /// `SHOP_STRIPE_SECRET_KEY` does.
    pub fn by_variable(&self, variable: &str) -> Option<Known<'_>> {
        let upper = variable.to_ascii_uppercase();
        let mut name = upper.as_str();
        loop {
            if let Some((provider, index)) = self.by_variable.get(name) {
                let provider = self.providers.get(provider)?;
                return Some(Known { provider, credential: provider.credentials.get(*index)? });
            }
            // One word alone, such as TOKEN, says nothing.
            name = name.split_once('_')?.1;
        }
    }

    fn all(&self) -> impl Iterator<Item = Known<'_>> {
        self.providers.values().flat_map(|provider| {
            provider.credentials.iter().map(move |credential| Known { provider, credential })
        })
    }
}

/// Rules that no file can keep alone.
fn between(sources: &BTreeMap<String, Source>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut variables: HashMap<String, String> = HashMap::new();
    for source in sources.values() {
        for (index, credential) in source.provider.credentials.iter().enumerate() {
            let place = Place::default().key("credential").at(index);
            let mut note = |place: &Place, rule: String| {
                let line = place.line(&source.document);
                mistakes.push(Mistake { file: source.file.clone(), line, rule });
            };
            let name = format!("{}.{}", source.provider.id, credential.id);
            for (index, variable) in credential.variables.iter().enumerate() {
                if let Some(other) = variables.insert(variable.to_ascii_uppercase(), name.clone()) {
                    let place = place.key("variables").at(index);
                    note(&place, format!("{place} belongs to {other} already"));
                }
            }
            for (index, example) in credential.examples.iter().enumerate() {
                let place = place.key("examples").at(index);
                for other in overlapping(sources, credential, &name, &example.value) {
                    note(
                        &place,
                        format!("{place} matches {other} too; one must name the other in `before`"),
                    );
                }
            }
            for (index, other) in credential.before.iter().enumerate() {
                let known = other.split_once('.').is_some_and(|(provider, id)| {
                    sources.get(provider).is_some_and(|it| it.provider.credential(id).is_some())
                });
                if !known {
                    let place = place.key("before").at(index);
                    note(&place, format!("{place} must name a credential as provider.credential"));
                }
            }
        }
    }
    mistakes
}

/// Credentials that are recognised by form alone and match a value of another one as well.
fn overlapping(
    sources: &BTreeMap<String, Source>,
    credential: &Credential,
    name: &str,
    value: &str,
) -> Vec<String> {
    if credential.evidence != Evidence::Format {
        return Vec::new();
    }
    let all = sources.values().flat_map(|source| {
        source.provider.credentials.iter().map(|other| (&source.provider.id, other))
    });
    all.filter_map(|(provider, other)| {
        let known = format!("{provider}.{}", other.id);
        let ordered =
            credential.before.contains(&known) || other.before.iter().any(|it| it == name);
        let both = known != name
            && !ordered
            && other.evidence == Evidence::Format
            && other.keyword_in(value)
            && other.matches(value);
        both.then_some(known)
    })
    .collect()
}
