//! `keyreeve owner`.

use keyreeve_api::{CreateOwnerRequest, PageQuery, Patch, UpdateOwnerRequest};

use super::{Outcome, change::must_change, deletion, listing, metadata};
use crate::{
    cli::{
        owner::{CreateArgs, OwnerChanges, OwnerCommand},
        page::PageArgs,
    },
    context::Context,
    output::owner,
};

pub(super) async fn run(command: &OwnerCommand, context: &Context) -> anyhow::Result<Outcome> {
    let owner = match command {
        OwnerCommand::Create(args) => {
            let body = creation(args)?;
            context.client()?.create_owner(&body).await?
        }
        OwnerCommand::List(args) => return list(args, context).await,
        OwnerCommand::Show(args) => context.client()?.owner(&args.id).await?,
        OwnerCommand::Update(args) => {
            let body = change(&args.changes)?;
            must_change(&body, "owner update")?;
            context.client()?.update_owner(&args.id, &body).await?
        }
        OwnerCommand::Delete(args) => {
            context.client()?.delete_owner(&args.id).await?;
            return deletion::tell("owner", &args.id, context);
        }
    };
    context.output.show(&owner, owner::fields)?;
    Ok(Outcome::Done)
}

async fn list(args: &PageArgs, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let page = listing::collect(args, async |query: PageQuery| client.list_owners(&query).await);
    listing::show(&page.await?, "owners", owner::table, context)
}

fn creation(args: &CreateArgs) -> anyhow::Result<CreateOwnerRequest> {
    Ok(CreateOwnerRequest {
        id: args.id.clone(),
        name: args.name.clone(),
        metadata: args.metadata.as_deref().map(metadata::parse).transpose()?.unwrap_or_default(),
        limits: args.limits.to_wire()?,
        quota: args.spending.quota.clone(),
        concurrency: args.spending.concurrency.clone(),
        ..Default::default()
    })
}

fn change(changes: &OwnerChanges) -> anyhow::Result<UpdateOwnerRequest> {
    Ok(UpdateOwnerRequest {
        name: match &changes.name {
            Some(name) => Patch::Set(name.clone()),
            None if changes.no_name => Patch::Clear,
            None => Patch::Keep,
        },
        metadata: changes.metadata.as_deref().map(metadata::parse).transpose()?,
        limits: changes.limits.to_wire()?,
        quota: changes.spending.quota(),
        concurrency: changes.spending.concurrency(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_unless_named() {
        let mut changes = OwnerChanges::default();
        assert!(change(&changes).unwrap().name.is_keep());
        changes.no_name = true;
        assert_eq!(change(&changes).unwrap().name, Patch::Clear);
        changes.name = Some("Acme".to_owned());
        assert_eq!(change(&changes).unwrap().name, Patch::Set("Acme".to_owned()));
    }
}
