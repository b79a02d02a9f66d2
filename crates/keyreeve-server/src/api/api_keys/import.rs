//! `POST /api/v1/api-keys/import`.

use axum::{Json, extract::State};
use keyreeve_api::{ImportRequest, ImportRowRequest, ImportView, ImportedRowView};
use keyreeve_core::{Invalid, key, model::Keyspace};
use keyreeve_engine::{
    FieldError,
    action::ImportKeys,
    keys::{ImportRow, ImportSpec, RowOutcome},
};

use super::create::DEFAULT_ENVIRONMENT;
use crate::{
    api::fields::Fields,
    extract::{Authenticated, EngineRef, LargeBody},
    problem::{Answer, Failure},
};

/// The path that is served here.
pub(crate) const PATH: &str = "/api/v1/api-keys/import";
/// How many times longer than others an import may take: it is larger than others by far.
pub(crate) const PATIENCE: u32 = 10;

const MOST_ROWS: usize = 50_000;

/// Brings keys of another system in by their hashes: all of them or none, unless told otherwise.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/import",
    tag = "api-keys",
    request_body = ImportRequest,
    responses((status = 200, description = "What became of each row", body = ImportView))
)]
pub(crate) async fn import(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    large: LargeBody,
) -> Answer<Json<ImportView>> {
    // Who may not import does not get to send so much.
    let permit = engine.authorize::<ImportKeys>(&caller).await?;
    let request: ImportRequest = large.json().await?;
    let dry_run = request.dry_run;
    let done = engine.import_keys(permit, spec(request)?).await?;
    let mut view = ImportView { dry_run, stored: done.stored, ..ImportView::default() };
    for (row, outcome) in (1..).zip(done.rows) {
        view.rows.push(match outcome {
            RowOutcome::Good(id) => {
                view.imported += 1;
                let id = done.stored.then(|| id.to_string());
                ImportedRowView { row, id, ..ImportedRowView::default() }
            }
            RowOutcome::Refused(error) => {
                view.refused += 1;
                let rule = Some(error.rule.rule().to_owned());
                ImportedRowView { row, id: None, field: Some(error.field), rule }
            }
        });
    }
    Ok(Json(view))
}

fn spec(request: ImportRequest) -> Result<ImportSpec, Failure> {
    if request.keys.is_empty() || request.keys.len() > MOST_ROWS {
        return Err(Failure::field("keys", "must be 1 to 50000 keys"));
    }
    let mut fields = Fields::default();
    let keyspace = request.keyspace.as_deref().unwrap_or(Keyspace::DEFAULT_NAME);
    let keyspace = fields.parse("keyspace", keyspace);
    let environment = request.environment.as_deref().unwrap_or(DEFAULT_ENVIRONMENT);
    let environment = fields.parse("environment", environment);
    let rows = request.keys.into_iter().map(row).collect();
    let spec = keyspace.zip(environment).map(|(keyspace, environment)| ImportSpec {
        keyspace,
        environment,
        rows,
        partial: request.partial,
        dry_run: request.dry_run,
    });
    fields.finish(spec)
}

/// One row, or the first rule it breaks: what is wrong with one row must not hide the others.
fn row(row: ImportRowRequest) -> Result<ImportRow, FieldError> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &row.name);
    let owner = fields.optional("owner", row.owner.as_deref());
    let roles = fields.roles(&row.roles);
    let permissions = fields.permissions(&row.permissions);
    let metadata = fields.metadata(row.metadata);
    let tags = fields.tags(row.tags);
    let hash = fields.parse("hash", &row.hash);
    let imported =
        hash.and_then(|hash| fields.take("start", key::Imported::new(row.start.as_deref(), hash)));
    let made = (|| {
        Some(ImportRow {
            name: name?,
            imported: imported?,
            owner,
            roles: roles?,
            permissions: permissions?,
            metadata: metadata?,
            tags: tags?,
            expires_at: row.expires_at,
        })
    })();
    fields.finish_first(made).map_err(|first| {
        first.unwrap_or_else(|| FieldError::new("row", Invalid::new("is not valid")))
    })
}
