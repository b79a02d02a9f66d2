//! Other stores of secrets.

mod aws_secrets_manager;
mod vault_kv2;

pub use self::{
    aws_secrets_manager::{AwsCredentials, AwsSecretsManager, StagedVersion},
    vault_kv2::{VaultKv2, VaultLogin},
};
