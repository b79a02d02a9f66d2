//! `secret/…`: KV version 2.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use keyreeve_core::{
    Secret,
    vault::{
        SecretPath, SecretPathPrefix, SecretRecord, SecretSettings, Stage, VersionMeta,
        VersionNumber,
    },
};
use keyreeve_engine::{
    Engine, RequestId,
    vault::{
        Fields, ListSecrets, MetadataChange, NotesChange, PutSecret, SettingsChange, VaultAccess,
        VaultError, WhichVersion, WriteOptions, Written,
    },
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use zeroize::Zeroizing;

use super::{
    answer::{Envelope, Refusal, data, done, gone, json_response},
    duration,
    request::{VaultRequest, parse},
};

/// The header that writes what cannot be meant.
const FORCE: &str = "x-keyreeve-force";
/// The most versions of a secret, and of one request. All that is known of them is one record.
const MOST_VERSIONS: usize = 1_000;

pub(super) fn path_of(text: &str) -> Result<SecretPath, Refusal> {
    text.parse().map_err(|rule| Refusal::bad_request(format!("the path {rule}")))
}

fn moment(at: Option<jiff::Timestamp>) -> String {
    at.map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn notes(secret: &SecretRecord) -> Value {
    if secret.custom_metadata.is_empty() { Value::Null } else { json!(secret.custom_metadata) }
}

/// Room for what an answer says besides fields, so that it is written into one piece of memory.
const AROUND_FIELDS: usize = 768;

fn version_json(version: VersionNumber, meta: &VersionMeta, secret: &SecretRecord) -> Value {
    json!({
        "created_time": moment(Some(meta.created_at)),
        "custom_metadata": notes(secret),
        "deletion_time": moment(meta.deleted_at),
        "destroyed": meta.destroyed,
        "version": version,
    })
}

pub(super) async fn read(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let which = match (request.query("version").as_deref(), request.query("label")) {
        (None | Some(""), None) => WhichVersion::Current,
        // Ours: by name.
        (None | Some(""), Some(label)) => WhichVersion::Label(label),
        (Some(text), _) => {
            let number: i64 =
                text.parse().map_err(|_| Refusal::bad_request("version must be a whole number"))?;
            WhichVersion::Number(VersionNumber::try_from(number).unwrap_or(VersionNumber::MAX))
        }
    };
    let found = engine.read_secret(access, &path_of(path)?, &which).await?;
    let metadata = version_json(found.version, &found.meta, &found.secret);
    let Some(fields) = found.fields else {
        return Ok(gone(id, json!({ "data": null, "metadata": metadata })));
    };
    // EXPOSE: the answer is what the caller may read; it is overwritten once it is sent.
    let fields = fields.text().expose();
    let mut body = Zeroizing::new(String::with_capacity(fields.len() + AROUND_FIELDS));
    // Text takes whatever is written.
    let _ = write!(
        *body,
        "{{\"request_id\":\"{id}\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":0,\
         \"data\":{{\"data\":{fields},\"metadata\":{metadata}}},\"wrap_info\":null,\
         \"warnings\":null,\"auth\":null}}",
        id = id.as_str(),
    );
    let body = Bytes::from_owner(Wiped(body));
    Ok(json_response(StatusCode::OK, Body::from(body)))
}

/// Text that is overwritten when the last who needs it is done.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[derive(Deserialize)]
struct WriteBody<'b> {
    #[serde(borrow)]
    data: Option<&'b RawValue>,
    #[serde(default)]
    options: Option<OptionsBody>,
}

#[derive(Default, Deserialize)]
struct OptionsBody {
    #[serde(default)]
    cas: Option<Value>,
    /// Ours: writes what cannot be meant all the same.
    #[serde(default)]
    force: bool,
    /// Ours: keeps a version that is not read before it is promoted.
    #[serde(default)]
    pending: bool,
}

impl WriteBody<'_> {
    fn fields(&self) -> Result<Fields, Refusal> {
        let data = self.data.map(RawValue::get).filter(|data| *data != "null");
        let data = data.ok_or_else(|| Refusal::bad_request("no data provided"))?;
        Fields::parse(Secret::new(data.to_owned()))
            .map_err(|fault| VaultError::Invalid(fault).into())
    }

    /// The options, and a header for clients that have no place for `force`.
    fn options(&self, request: &VaultRequest) -> Result<WriteOptions, Refusal> {
        let header = request.parts.headers.get(FORCE);
        let forced = header.is_some_and(|value| value.as_bytes() == b"true");
        let Some(options) = &self.options else {
            return Ok(WriteOptions { force: forced, ..WriteOptions::default() });
        };
        let number = |cas: &Value| {
            let number = cas.as_u64().or_else(|| cas.as_str()?.parse().ok());
            number.ok_or_else(|| Refusal::bad_request("cas must be a whole number"))
        };
        let cas = options.cas.as_ref().filter(|cas| !cas.is_null()).map(number).transpose()?;
        let stage = if options.pending { Stage::Pending } else { Stage::Current };
        Ok(WriteOptions { cas, force: forced || options.force, stage })
    }
}

fn written(written: &Written, id: &RequestId) -> Response<Body> {
    data(id, version_json(written.version, &written.meta, &written.secret))
}

pub(super) async fn write(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: WriteBody<'_> = write_body(request)?;
    let put = PutSecret { fields: body.fields()?, options: body.options(request)? };
    Ok(written(&engine.put_secret(access, &path_of(path)?, put).await?, id))
}

fn write_body(request: &VaultRequest) -> Result<WriteBody<'_>, Refusal> {
    match request.body.trim_ascii() {
        b"" | b"null" => Ok(WriteBody { data: None, options: None }),
        body => parse(body),
    }
}

pub(super) async fn patch(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    require_merge_patch(request)?;
    let body = write_body(request)?;
    let (fields, options) = (body.fields()?, body.options(request)?);
    let patched = engine.patch_secret(access, &path_of(path)?, &fields, options).await;
    Ok(written(&patched.map_err(Refusal::of_patch)?, id))
}

fn require_merge_patch(request: &VaultRequest) -> Result<(), Refusal> {
    let kind = request.parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/merge-patch+json") {
        return Ok(());
    }
    Err(Refusal::unsupported_media_type())
}

pub(super) async fn delete_current(
    engine: &Engine,
    access: &VaultAccess,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    engine.delete_versions(access, &path_of(path)?, None).await?;
    Ok(done())
}

#[derive(Default, Deserialize)]
struct VersionsBody {
    /// A list, or with commas between them, as `bao write` sends them.
    #[serde(default)]
    versions: Value,
}

impl VersionsBody {
    /// Numbers, which `bao` sends as text.
    fn numbers(&self) -> Result<Vec<VersionNumber>, Refusal> {
        let versions: Vec<Value> = match &self.versions {
            Value::Array(versions) => versions.clone(),
            Value::String(text) => text.split(',').map(|it| json!(it.trim())).collect(),
            Value::Null => Vec::new(),
            other => vec![other.clone()],
        };
        if versions.is_empty() {
            return Err(Refusal::bad_request("No version number provided"));
        }
        if versions.len() > MOST_VERSIONS {
            return Err(Refusal::bad_request("versions must name at most 1000 versions"));
        }
        let number = |value: &Value| {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            number.ok_or_else(|| Refusal::bad_request("versions must be whole numbers"))
        };
        versions.iter().map(number).collect()
    }
}

pub(super) async fn change_versions(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    operation: &str,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let path = path_of(path)?;
    let versions = request.json::<VersionsBody>()?.numbers()?;
    match operation {
        "delete" => engine.delete_versions(access, &path, Some(&versions)).await?,
        "undelete" => engine.undelete_versions(access, &path, &versions).await?,
        _ => engine.destroy_versions(access, &path, &versions).await?,
    }
    Ok(done())
}

pub(super) async fn list(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let folder: SecretPathPrefix =
        path.parse().map_err(|rule| Refusal::bad_request(format!("the path {rule}")))?;
    let after = request.query("after").filter(|after| !after.is_empty());
    let limit = match request.query("limit").as_deref() {
        None | Some("" | "-1" | "0") => None,
        Some(text) => {
            Some(text.parse().map_err(|_| Refusal::bad_request("limit must be a whole number"))?)
        }
    };
    let recursive = request.is_recursive();
    let list = ListSecrets { recursive, after: after.as_deref(), limit };
    let listing = engine.list_secrets(access, &folder, list).await?;
    if listing.names.is_empty() {
        return Err(Refusal::nothing());
    }
    let more = (listing.more && limit.is_none())
        .then_some("there are more names; go on with after=<the last of these>");
    let data = json!({ "keys": listing.names });
    Ok(Envelope { data, warning: more, ..Envelope::default() }.respond(id))
}

pub(super) async fn metadata(
    engine: &Engine,
    access: &VaultAccess,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let secret = engine.secret_metadata(access, &path_of(path)?).await?;
    let versions: BTreeMap<String, Value> = secret
        .versions
        .iter()
        .map(|(number, meta)| {
            let shown = json!({
                "created_time": moment(Some(meta.created_at)),
                "deletion_time": moment(meta.deleted_at),
                "destroyed": meta.destroyed,
            });
            (number.to_string(), shown)
        })
        .collect();
    let answer = json!({
        "cas_required": secret.settings.cas_required,
        "created_time": moment(Some(secret.created_at)),
        "current_metadata_version": secret.metadata_version,
        "current_version": secret.current,
        "custom_metadata": notes(&secret),
        "delete_version_after": duration::format(secret.settings.delete_version_after),
        "max_versions": secret.settings.max_versions,
        "metadata_cas_required": false,
        "oldest_version": secret.oldest(),
        "updated_time": moment(Some(secret.updated_at)),
        "versions": versions,
    });
    Ok(data(id, answer))
}

#[derive(Default, Deserialize)]
struct SettingsBody {
    #[serde(default)]
    max_versions: Option<i64>,
    #[serde(default)]
    cas_required: Option<bool>,
    #[serde(default)]
    delete_version_after: Option<Value>,
}

impl SettingsBody {
    fn change(&self) -> Result<SettingsChange, Refusal> {
        let max_versions = self.max_versions.map(|most| {
            let rule = "max_versions must be 0 to 1000";
            let most = u32::try_from(most).ok().filter(|most| *most as usize <= MOST_VERSIONS);
            most.ok_or_else(|| Refusal::bad_request(rule))
        });
        let life = self.delete_version_after.as_ref().map(|value| {
            let rule = "delete_version_after must be a length of time such as 24h";
            duration::parse(value).ok_or_else(|| Refusal::bad_request(rule))
        });
        Ok(SettingsChange {
            max_versions: max_versions.transpose()?,
            cas_required: self.cas_required,
            delete_version_after: life.transpose()?,
        })
    }
}

#[derive(Default, Deserialize)]
struct MetadataBody {
    #[serde(flatten)]
    settings: SettingsBody,
    #[serde(default)]
    custom_metadata: Option<BTreeMap<String, Option<String>>>,
}

pub(super) async fn change_metadata(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let patches = request.parts.method == http::Method::PATCH;
    if patches {
        require_merge_patch(request)?;
    }
    let body: MetadataBody = request.json()?;
    let custom = body.custom_metadata.map(|notes| {
        if patches {
            NotesChange::Merge(notes.into_iter().collect())
        } else {
            let set = notes.into_iter().map(|(name, value)| (name, value.unwrap_or_default()));
            NotesChange::Replace(set.collect())
        }
    });
    let change = MetadataChange { settings: body.settings.change()?, custom };
    let changed = engine.change_metadata(access, &path_of(path)?, &change, patches).await;
    changed.map_err(Refusal::of_patch)?;
    Ok(done())
}

pub(super) async fn remove(
    engine: &Engine,
    access: &VaultAccess,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    engine.remove_secret(access, &path_of(path)?).await?;
    Ok(done())
}

pub(super) async fn config(
    engine: &Engine,
    access: &VaultAccess,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let SecretSettings { max_versions, cas_required, delete_version_after } =
        engine.mount(access).await?.settings;
    let answer = json!({
        "cas_required": cas_required,
        "delete_version_after": duration::format(delete_version_after),
        "max_versions": max_versions,
        "metadata_cas_required": false,
    });
    Ok(data(id, answer))
}

pub(super) async fn change_config(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
) -> Result<Response<Body>, Refusal> {
    let change = request.json::<SettingsBody>()?.change()?;
    engine.change_mount(access, &change).await?;
    Ok(done())
}
