//! `keyreeve audit`.

mod export;
mod part_file;
pub(super) mod verify;

use keyreeve_api::{ListAuditQuery, PageQuery};

use super::{Outcome, listing};
use crate::{
    cli::audit::{AuditCommand, ListArgs},
    context::Context,
    output::audit,
};

pub(super) async fn run(command: &AuditCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        AuditCommand::List(args) => list(args, context).await,
        AuditCommand::Export(args) => export::run(args, context).await,
        AuditCommand::Verify(args) => verify::run(args, context).await,
        AuditCommand::Checkpoint => {
            let head = context.client()?.audit_checkpoint().await?;
            context.output.show(&head, audit::note)?;
            Ok(Outcome::Done)
        }
    }
}

async fn list(args: &ListArgs, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let query = ListAuditQuery {
        actor: args.actor.clone(),
        action: args.action.clone(),
        target: args.target.clone(),
        outcome: args.outcome.clone(),
        since: args.since.map(|since| since.seen_from(context.now)),
        until: args.until.map(|until| until.seen_from(context.now)),
        limit: None,
        cursor: None,
    };
    let page = listing::collect(&args.page, async |PageQuery { limit, cursor }| {
        client.list_audit(&ListAuditQuery { limit, cursor, ..query.clone() }).await
    });
    listing::show(&page.await?, "entries", audit::table, context)
}
