//! `keyreeve connection`.

use keyreeve_api::{
    CacheRulesView, CallLimitsView, CallUsageQuery, Client, ConnectionView,
    CreateClientTokenRequest, CreateConnectionRequest, ListCallsQuery, Patch, PatienceView,
    TestConnectionRequest, UpdateConnectionRequest,
};

use super::{Outcome, change::must_change, deletion, listing, new_key};
use crate::{
    cli::connection::{AddArgs, ConnectionCommand, FieldArgs, TestArgs, TokenArgs, pairs},
    context::Context,
    output::{canvas::Canvas, connection},
};

pub(super) async fn run(command: &ConnectionCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let enabled =
        |enabled| UpdateConnectionRequest { enabled: Some(enabled), ..Default::default() };
    let connection = match command {
        ConnectionCommand::Add(args) => client.create_connection(&creation(args)?).await?,
        ConnectionCommand::List => {
            let page = client.list_connections().await?;
            return listing::show(&page, "connections", connection::table, context);
        }
        ConnectionCommand::Show(args) => client.connection(&args.name).await?,
        ConnectionCommand::Update(args) => {
            let body = change(&args.fields)?;
            must_change(&body, "connection update")?;
            let body = completed(body, client.connection(&args.name).await?);
            client.update_connection(&args.name, &body).await?
        }
        ConnectionCommand::Disable(args) => {
            client.update_connection(&args.name, &enabled(false)).await?
        }
        ConnectionCommand::Enable(args) => {
            client.update_connection(&args.name, &enabled(true)).await?
        }
        ConnectionCommand::Rm(args) => {
            client.delete_connection(&args.name).await?;
            return deletion::tell("connection", &args.name, context);
        }
        ConnectionCommand::Cut => {
            client.cut_connections().await?;
            context.output.note("all calls that were going on are ended")?;
            return Ok(Outcome::Done);
        }
        ConnectionCommand::Test(args) => return test(&client, args, context).await,
        ConnectionCommand::Token(args) => return make_token(&client, args, context).await,
        ConnectionCommand::Tokens => {
            let page = client.list_client_tokens().await?;
            return listing::show(&page, "tokens", connection::tokens_table, context);
        }
        ConnectionCommand::RevokeToken(args) => {
            client.revoke_client_token(&args.id).await?;
            return deletion::tell("token", &args.id, context);
        }
        ConnectionCommand::Usage(args) => {
            let query = CallUsageQuery { from: args.from.clone() };
            let page = client.connection_usage(&query).await?;
            return listing::show(&page, "calls", connection::usage_table, context);
        }
        ConnectionCommand::Calls(args) => {
            let query = ListCallsQuery { limit: Some(args.limit), ..Default::default() };
            let page = client.connection_calls(&query).await?;
            return listing::show(&page, "calls", connection::calls_table, context);
        }
    };
    context.output.show(&connection, connection::fields)?;
    Ok(Outcome::Done)
}

async fn test(client: &Client, args: &TestArgs, context: &Context) -> anyhow::Result<Outcome> {
    let tested = client
        .test_connection(&TestConnectionRequest {
            connection: args.name.clone(),
            path: args.path.clone(),
            secret: args.secret.clone(),
            provider: args.provider.clone(),
            parameters: pairs(&args.parameters)?,
            allow_internal: args.allow_internal.then_some(true),
            allow_plaintext: args.allow_plaintext.then_some(true),
        })
        .await?;
    context.output.show(&tested, connection::test_fields)?;
    Ok(match tested.verdict.as_str() {
        "live" | "limited" => Outcome::Done,
        _ => Outcome::Negative,
    })
}

async fn make_token(
    client: &Client,
    args: &TokenArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let answer = client
        .create_client_token(&CreateClientTokenRequest {
            connections: args.connections.clone(),
            routes: args.routes.clone(),
            origin: args.origin.clone(),
            ip: args.ip.clone(),
            expires_in: Some(args.expires_in.clone()),
        })
        .await?;
    let about = |canvas: &Canvas| {
        let (id, ends) = (&answer.details.id, canvas.moment(answer.details.expires_at));
        format!("Token {id} ends {ends}. Send it as X-Keyreeve-Key.")
    };
    new_key::print(&answer, &answer.token, about, context)
}

/// The fields that two requests have in common, as they were typed.
macro_rules! request {
    ($request:ident, $fields:expr, $($name:ident: $value:expr),*) => {{
        let fields = $fields;
        let listed = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        $request {
            $($name: $value,)*
            secret: fields.secret.clone(),
            base_url: fields.base_url.clone(),
            inject: fields.inject()?,
            parameters: fields.parameters()?,
            public: listed(&fields.public),
            allow_internal: fields.allow_internal,
            allow_plaintext: fields.allow_plaintext,
            path_rules: fields.path_rules.clone(),
            restrictions: Some(fields.restrictions.to_wire()).filter(|view| !view.is_empty()),
            costs: Some(fields.costs.clone()).filter(|costs| !costs.is_empty()),
            clients: listed(&fields.clients),
            limits: limits(fields),
            patience: patience(fields),
            cache: cache(fields),
            enabled: None,
        }
    }};
}

fn creation(args: &AddArgs) -> anyhow::Result<CreateConnectionRequest> {
    // Without an address of its own it is a provider of the catalogue.
    let provider = args.provider.clone();
    let provider = provider.or_else(|| args.fields.base_url.is_none().then(|| args.name.clone()));
    Ok(request!(
        CreateConnectionRequest,
        &args.fields,
        name: Some(args.name.clone()),
        provider: provider
    ))
}

fn change(fields: &FieldArgs) -> anyhow::Result<UpdateConnectionRequest> {
    Ok(request!(UpdateConnectionRequest, fields,))
}

/// What stays of bounds of which some are changed: each kind is replaced by itself.
fn completed(mut body: UpdateConnectionRequest, known: ConnectionView) -> UpdateConnectionRequest {
    if let Some(new) = &mut body.restrictions {
        let old = known.restrictions;
        let kinds = [
            (&mut new.allow_ips, old.allow_ips),
            (&mut new.deny_ips, old.deny_ips),
            (&mut new.windows, old.windows),
            (&mut new.origins, old.origins),
            (&mut new.routes, old.routes),
            (&mut new.allow_countries, old.allow_countries),
            (&mut new.deny_countries, old.deny_countries),
        ];
        for (new, old) in kinds {
            if new.is_empty() {
                *new = old;
            }
        }
    }
    if let Some(new) = &mut body.limits {
        let old = known.limits;
        new.rate = new.rate.take().or(old.rate);
        new.rate_per_client = new.rate_per_client.take().or(old.rate_per_client);
        new.spend = new.spend.take().or(old.spend);
        new.spend_per_client = new.spend_per_client.take().or(old.spend_per_client);
        new.concurrency = new.concurrency.or(old.concurrency);
        new.max_request_bytes = new.max_request_bytes.or(old.max_request_bytes);
        new.max_response_bytes = new.max_response_bytes.or(old.max_response_bytes);
        new.max_buffered_bytes = new.max_buffered_bytes.or(old.max_buffered_bytes);
    }
    if let Some(new) = &mut body.patience {
        let old = known.patience;
        new.connect_ms = new.connect_ms.or(old.connect_ms);
        new.first_byte_ms = new.first_byte_ms.or(old.first_byte_ms);
        new.idle_ms = new.idle_ms.or(old.idle_ms);
    }
    body
}

fn cache(fields: &FieldArgs) -> Patch<CacheRulesView> {
    let Some(max_age_s) = fields.cache_for else { return Patch::Keep };
    let scope = if fields.cache_for_all { "connection" } else { "client" };
    Patch::Set(CacheRulesView {
        routes: fields.cache_routes.clone(),
        max_age_s,
        scope: Some(scope.to_owned()),
        max_entry_bytes: None,
    })
}

fn limits(fields: &FieldArgs) -> Option<CallLimitsView> {
    let view = CallLimitsView {
        rate: fields.rate.clone(),
        rate_per_client: fields.rate_per_client.clone(),
        spend: fields.spend.clone(),
        spend_per_client: fields.spend_per_client.clone(),
        concurrency: fields.concurrency,
        max_request_bytes: fields.max_request_bytes,
        max_response_bytes: fields.max_response_bytes,
        max_buffered_bytes: None,
    };
    (view != CallLimitsView::default()).then_some(view)
}

fn patience(fields: &FieldArgs) -> Option<PatienceView> {
    let view = PatienceView {
        connect_ms: None,
        first_byte_ms: fields.first_byte_ms,
        idle_ms: fields.idle_ms,
    };
    (view != PatienceView::default()).then_some(view)
}
