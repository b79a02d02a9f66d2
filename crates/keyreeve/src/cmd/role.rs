//! `keyreeve role`.

use keyreeve_api::{CreateRoleRequest, UpdateRoleRequest};
use keyreeve_core::permission::Permission;

use super::{Outcome, change::must_change, deletion, listing};
use crate::{
    cli::role::{RoleChanges, RoleCommand},
    context::Context,
    output::role,
};

pub(super) async fn run(command: &RoleCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let role = match command {
        RoleCommand::Create(args) => {
            let body = CreateRoleRequest {
                name: args.name.to_string(),
                description: args.description.clone().unwrap_or_default(),
                permissions: texts(&args.permissions),
            };
            client.create_role(&body).await?
        }
        RoleCommand::List => {
            let page = client.list_roles().await?;
            return listing::show(&page, "roles", role::table, context);
        }
        RoleCommand::Show(args) => client.role(args.name.as_str()).await?,
        RoleCommand::Update(args) => {
            let body = change(&args.changes);
            must_change(&body, "role update")?;
            client.update_role(args.name.as_str(), &body).await?
        }
        RoleCommand::Delete(args) => {
            client.delete_role(args.name.as_str()).await?;
            return deletion::tell("role", args.name.as_str(), context);
        }
    };
    context.output.show(&role, role::fields)?;
    Ok(Outcome::Done)
}

fn change(changes: &RoleChanges) -> UpdateRoleRequest {
    let named = changes.no_permissions || !changes.permissions.is_empty();
    UpdateRoleRequest {
        description: changes.description.clone(),
        permissions: named.then(|| texts(&changes.permissions)),
    }
}

fn texts(permissions: &[Permission]) -> Vec<String> {
    permissions.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_stay_unless_named() {
        let mut changes = RoleChanges {
            permissions: Vec::new(),
            no_permissions: false,
            description: Some("edits".to_owned()),
        };
        assert_eq!(change(&changes).permissions, None);
        changes.no_permissions = true;
        assert_eq!(change(&changes).permissions, Some(Vec::new()));
    }
}
