//! The calls of the Vault API that the command line makes.

use std::{collections::BTreeMap, fmt};

use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use super::{Client, ClientError, unreachable};

/// A version's fields, each as its JSON text, so that numbers stay as they were written. Does not
/// print.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct SecretFields(pub BTreeMap<String, Box<RawValue>>);

impl SecretFields {
    /// A field as text: strings without their quotes.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| field_text(value))
    }
}

/// A field's value as text: strings without their quotes.
pub fn field_text(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

impl fmt::Debug for SecretFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretFields({} fields)", self.0.len())
    }
}

/// What is known of a version.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct SecretVersionView {
    /// When it was written.
    pub created_time: String,
    /// When it was or will be deleted; empty if never.
    pub deletion_time: String,
    /// Whether it is gone for good.
    pub destroyed: bool,
    /// Its number; 0 in a list of versions.
    #[serde(default)]
    pub version: u64,
}

/// A version with its fields; `None` if it is deleted or destroyed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SecretView {
    /// The fields.
    pub data: Option<SecretFields>,
    /// What is known of it.
    pub metadata: SecretVersionView,
}

/// What is known of a secret.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct SecretMetadataView {
    /// When it was made.
    pub created_time: String,
    /// When it changed last.
    pub updated_time: String,
    /// The version that is read.
    pub current_version: u64,
    /// How many versions are kept; 0 is as the mount says.
    pub max_versions: u64,
    /// Whether a write has to name the version it has seen.
    pub cas_required: bool,
    /// How long versions live.
    pub delete_version_after: String,
    /// Notes.
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// Its versions by number.
    pub versions: BTreeMap<String, SecretVersionView>,
}

/// What bounds a secret's versions, and notes about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SecretBounds {
    /// How many versions are kept; 0 is as the mount says.
    pub max_versions: u64,
    /// Whether a write has to name the version it has seen.
    pub cas_required: bool,
    /// How long versions live, such as `768h`; `0s` or nothing is as the mount says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub delete_version_after: String,
    /// Notes.
    pub custom_metadata: BTreeMap<String, String>,
}

impl SecretBounds {
    /// Whether they say nothing.
    pub fn are_usual(&self) -> bool {
        self.max_versions == 0
            && !self.cas_required
            && matches!(&*self.delete_version_after, "" | "0s")
            && self.custom_metadata.is_empty()
    }
}

/// Whose a secret is and what is to be done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SecretAbout {
    /// Whose credentials it holds, by the id in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// `low`, `medium` or `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// When the provider ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// How often it is to be changed, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_every_days: Option<u32>,
    /// Names of versions. Only shown.
    #[serde(default, skip_serializing)]
    pub labels: BTreeMap<String, u64>,
}

/// Why somebody may do what they may do at a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PathExplanation {
    /// Where.
    pub path: String,
    /// Whether they may do everything, whatever policies say.
    pub everything: bool,
    /// The pattern that decides.
    pub pattern: Option<String>,
    /// The policies that have it.
    pub policies: Vec<String>,
    /// What they may do.
    pub granted: Vec<String>,
}

/// A version to be written.
#[derive(Serialize)]
struct Write<'f> {
    data: &'f SecretFields,
    options: WriteHow,
}

/// Which version became the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Promoted {
    /// Its number.
    pub version: u64,
}

/// How a version is written. What is not wanted is left out: other vaults do not know it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WriteHow {
    /// The version that the writer has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cas: Option<u64>,
    /// Even if it looks like a mistake.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// To be read only once it is promoted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Default, Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

impl Client {
    /// The same client for secrets at another mount, as other vaults have them.
    #[must_use]
    pub fn at_mount(mut self, mount: &str) -> Self {
        mount.clone_into(&mut self.mount);
        self
    }

    fn vault(&self, method: Method, operation: &str, path: &str) -> RequestBuilder {
        let path = path.split('/').filter(|part| !part.is_empty());
        let parts = ["v1"].into_iter().chain(self.mount.split('/')).chain([operation]).chain(path);
        self.request_below(method, &parts.collect::<Vec<_>>())
    }

    /// Sends a request; what is not there is `None`.
    pub(super) async fn vault_answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, ClientError> {
        let sent = request.send().await;
        let response = sent.map_err(|source| unreachable(&self.endpoint, source))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|source| unreachable(&self.endpoint, source))?;
        if let Ok(Envelope { data }) = serde_json::from_slice::<Envelope<T>>(&body) {
            return Ok(Some(data));
        }
        if status == StatusCode::NOT_FOUND && body.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice::<Errors>(&body) {
            Ok(Errors { errors }) if status == StatusCode::NOT_FOUND && errors.is_empty() => {
                Ok(None)
            }
            Ok(Errors { errors }) if !status.is_success() => {
                Err(ClientError::VaultRefused { status: status.as_u16(), errors })
            }
            _ if status == StatusCode::NO_CONTENT => Ok(None),
            _ => Err(self.not_keyreeve(status)),
        }
    }

    /// Sends a request whose answer is not wrapped in anything.
    pub(super) async fn vault_plain<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let sent = request.send().await;
        let response = sent.map_err(|source| unreachable(&self.endpoint, source))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|source| unreachable(&self.endpoint, source))?;
        if status.is_success()
            && let Ok(answer) = serde_json::from_slice(&body)
        {
            return Ok(answer);
        }
        match serde_json::from_slice::<Errors>(&body) {
            Ok(Errors { errors }) if !status.is_success() => {
                Err(ClientError::VaultRefused { status: status.as_u16(), errors })
            }
            _ => Err(self.not_keyreeve(status)),
        }
    }

    /// Whose a secret is and what is to be done with it.
    pub async fn secret_about(&self, path: &str) -> Result<Option<SecretAbout>, ClientError> {
        self.vault_answer(self.vault(Method::GET, "about", path)).await
    }

    /// Changes what is given of that.
    pub async fn describe_secret(
        &self,
        path: &str,
        about: &SecretAbout,
    ) -> Result<(), ClientError> {
        let request = self.vault(Method::POST, "about", path).json(about);
        self.vault_answer::<Value>(request).await.map(drop)
    }

    /// Which rule decides for a path: of these policies, or without any of one's own.
    pub async fn explain(
        &self,
        path: &str,
        policies: &[String],
    ) -> Result<Option<PathExplanation>, ClientError> {
        let body = json!({ "path": path, "policies": policies });
        let parts = ["v1", "sys", "keyreeve", "explain"];
        self.vault_answer(self.request_below(Method::POST, &parts).json(&body)).await
    }

    /// Sets what bounds a secret's versions, and notes about it. The secret need not have any yet.
    pub async fn set_secret_bounds(
        &self,
        path: &str,
        bounds: &SecretBounds,
    ) -> Result<(), ClientError> {
        let request = self.vault(Method::POST, "metadata", path).json(bounds);
        self.vault_answer::<Value>(request).await.map(drop)
    }

    /// Writes a version, unless it looks like a mistake that is not forced.
    pub async fn put_secret(
        &self,
        path: &str,
        fields: &SecretFields,
        how: WriteHow,
    ) -> Result<Option<SecretVersionView>, ClientError> {
        let body = Write { data: fields, options: how };
        self.vault_answer(self.vault(Method::POST, "data", path).json(&body)).await
    }

    /// Changes members of the current version, likewise.
    pub async fn patch_secret(
        &self,
        path: &str,
        fields: &SecretFields,
        how: WriteHow,
    ) -> Result<Option<SecretVersionView>, ClientError> {
        let body = Write { data: fields, options: how };
        // `json` leaves a type alone that is there.
        let request = self.vault(Method::PATCH, "data", path);
        let request = request.header(header::CONTENT_TYPE, "application/merge-patch+json");
        self.vault_answer(request.json(&body)).await
    }

    /// Reads a version; the current one without a number.
    pub async fn secret(
        &self,
        path: &str,
        version: Option<u64>,
    ) -> Result<Option<SecretView>, ClientError> {
        let mut request = self.vault(Method::GET, "data", path);
        if let Some(version) = version {
            request = request.query(&[("version", version)]);
        }
        self.vault_answer(request).await
    }

    /// Reads the version of a name: `previous`, `pending`, or an alias.
    pub async fn labelled_secret(
        &self,
        path: &str,
        label: &str,
    ) -> Result<Option<SecretView>, ClientError> {
        let request = self.vault(Method::GET, "data", path).query(&[("label", label)]);
        self.vault_answer(request).await
    }

    /// Makes a version the current one; the one that waits if none is named.
    pub async fn promote_secret(
        &self,
        path: &str,
        version: Option<u64>,
    ) -> Result<Option<Promoted>, ClientError> {
        let body = json!({ "version": version });
        self.vault_answer(self.vault(Method::POST, "promote", path).json(&body)).await
    }

    /// Gives a version another name, or takes a name away.
    pub async fn label_secret(
        &self,
        path: &str,
        label: &str,
        version: Option<u64>,
    ) -> Result<(), ClientError> {
        let body = json!({ "label": label, "version": version });
        let request = self.vault(Method::POST, "label", path).json(&body);
        self.vault_answer::<Value>(request).await.map(drop)
    }

    /// What is known of a secret.
    pub async fn secret_metadata(
        &self,
        path: &str,
    ) -> Result<Option<SecretMetadataView>, ClientError> {
        self.vault_answer(self.vault(Method::GET, "metadata", path)).await
    }

    /// Names in a folder, or all paths below it; a page, to go on with `after` its last name.
    pub async fn list_secrets(
        &self,
        folder: &str,
        recursive: bool,
        after: Option<&str>,
    ) -> Result<Vec<String>, ClientError> {
        let how = if recursive { "scan" } else { "list" };
        let mut query = vec![(how, "true")];
        query.extend(after.map(|after| ("after", after)));
        let request = self.vault(Method::GET, "metadata", folder).query(&query);
        let found: Option<Keys> = self.vault_answer(request).await?;
        Ok(found.map(|found| found.keys).unwrap_or_default())
    }

    /// Deletes the current version, so that it can be brought back.
    pub async fn delete_secret(&self, path: &str) -> Result<(), ClientError> {
        let request = self.vault(Method::DELETE, "data", path);
        self.vault_answer::<Value>(request).await.map(drop)
    }

    /// Does `delete`, `undelete` or `destroy` to versions.
    pub async fn change_secret_versions(
        &self,
        operation: &str,
        path: &str,
        versions: &[u64],
    ) -> Result<(), ClientError> {
        let body = json!({ "versions": versions });
        let request = self.vault(Method::POST, operation, path).json(&body);
        self.vault_answer::<Value>(request).await.map(drop)
    }

    /// Removes a secret with all its versions for good.
    pub async fn remove_secret(&self, path: &str) -> Result<(), ClientError> {
        let request = self.vault(Method::DELETE, "metadata", path);
        self.vault_answer::<Value>(request).await.map(drop)
    }
}
