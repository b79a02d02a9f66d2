//! What `keyreeve key … --help` shows as examples.

/// Of `key`.
pub(in crate::cli) const ABOUT: &str = "\
Examples:
  keyreeve key create --name billing --env production --role verifier
  keyreeve key list --owner acme
  keyreeve key rotate 4Tn0Zs8QbW1c --grace 24h
  keyreeve key revoke 4Tn0Zs8QbW1c --reason 'found in a log'";

/// Of `key create`.
pub(super) const CREATE: &str = "\
Examples:
  keyreeve key create --name billing --env production --role verifier
  keyreeve key create --name acme --owner acme --permission documents.read --expires-in 30d
  keyreeve key create --name ci --metadata '{\"team\":\"platform\"}' --tag ci --tag eu
  keyreeve key create --name deploy --idempotency-key deploy-2026-11 > deploy.key
  keyreeve key create --name c --limit burst=20/10s --quota 5000/month
  keyreeve key create --name d --allow-ip 203.0.113.0/24 --window 'Mon-Fri 09:00-17:00 Europe/Berlin'

The key is the only thing on standard output; a note on it goes to standard error.";

/// Of `key show`.
pub(super) const SHOW: &str = "\
Examples:
  keyreeve key show 4Tn0Zs8QbW1c
  keyreeve key show 4Tn0Zs8QbW1c --format json";

/// Of `key list`.
pub(super) const LIST: &str = "\
Examples:
  keyreeve key list
  keyreeve key list --env production --state expired
  keyreeve key list --owner acme --all --format json";

/// Of `key update`.
pub(super) const UPDATE: &str = "\
Examples:
  keyreeve key update 4Tn0Zs8QbW1c --name 'billing (EU)'
  keyreeve key update 4Tn0Zs8QbW1c --role viewer --role verifier --no-permissions
  keyreeve key update 4Tn0Zs8QbW1c --expires-in 30d --if-revision 3
  keyreeve key update 4Tn0Zs8QbW1c --limit burst=20/10s --allow-ip 203.0.113.0/24 --no-quota";

/// Of `key rotate`.
pub(super) const ROTATE: &str = "\
Examples:
  keyreeve key rotate 4Tn0Zs8QbW1c
  keyreeve key rotate 4Tn0Zs8QbW1c --grace 24h --expires-in 90d > new.key";

/// Of `key finish-rotation`.
pub(super) const FINISH_ROTATION: &str = "\
Examples:
  keyreeve key finish-rotation 4Tn0Zs8QbW1c
  keyreeve key finish-rotation 4Tn0Zs8QbW1c --if-silent-for 1h";

/// Of `key revoke`.
pub(super) const REVOKE: &str = "\
Examples:
  keyreeve key revoke 4Tn0Zs8QbW1c
  keyreeve key revoke 4Tn0Zs8QbW1c --reason 'found in a log'";

/// Of `key enable`.
pub(super) const ENABLE: &str = "\
Examples:
  keyreeve key enable 4Tn0Zs8QbW1c";

/// Of `key disable`.
pub(super) const DISABLE: &str = "\
Examples:
  keyreeve key disable 4Tn0Zs8QbW1c
  keyreeve key disable 4Tn0Zs8QbW1c --reason 'unpaid invoice'";

/// Of `key delete`.
pub(super) const DELETE: &str = "\
Examples:
  keyreeve key delete 4Tn0Zs8QbW1c";

/// Of `key undelete`.
pub(super) const UNDELETE: &str = "\
Examples:
  keyreeve key undelete 4Tn0Zs8QbW1c";

/// Of `key purge`.
pub(super) const PURGE: &str = "\
Examples:
  keyreeve key list --state deleted
  keyreeve key purge 4Tn0Zs8QbW1c";

/// Of `key expiring`.
pub(super) const EXPIRING: &str = "\
Examples:
  keyreeve key expiring
  keyreeve key expiring --days 7 --format json";

/// Of `key cleanup-expired`.
pub(super) const CLEANUP_EXPIRED: &str = "\
Examples:
  keyreeve key cleanup-expired --dry-run
  keyreeve key cleanup-expired --expired-for 30d";

/// Of `key verify`.
pub(super) const VERIFY: &str = "\
Examples:
  keyreeve key verify < billing.key
  printf %s \"$KEY\" | keyreeve key verify --require documents.read
  keyreeve key verify --require 'documents.read AND documents.write' < billing.key
  keyreeve key verify --ip 203.0.113.9 --method GET --path /v1/items --dry-run < billing.key";

/// Examples of `key explain`.
pub(super) const EXPLAIN: &str = "\
Examples:
  keyreeve key explain 4Tn0Zs8QbW1c --ip 203.0.113.9 --method GET --path /v1/items
  keyreeve key explain 4Tn0Zs8QbW1c --at 2026-12-24T20:00:00Z --require documents.read";

/// Examples of `key suggest-limits`.
pub(super) const SUGGEST_LIMITS: &str = "\
Examples:
  keyreeve key suggest-limits 4Tn0Zs8QbW1c";

/// Of `key derive`.
pub(super) const DERIVE: &str = "\
Examples:
  keyreeve key derive --name nightly --expires-in 1h --permission documents.read > nightly.key
  keyreeve key derive --name browser --expires-in 10m --origin https://app.example.com

The key behind it is the one in KEYREEVE_TOKEN; it needs the permission keyreeve.keys.derive.";

/// Of `key import`.
pub(super) const IMPORT: &str = "\
Examples:
  keyreeve key import keys.csv --dry-run
  keyreeve key import keys.json --keyspace partners
  keyreeve key import keys.csv --partial --format json > report.json

Columns of a .csv file: name, hash, start, owner, roles, permissions, tags, metadata, expires_at.
Only name and hash have to be there; roles, permissions and tags are separated by spaces.
A .json file is a list of objects with the same fields. Hashes are SHA-256 or SHA-512, HMAC-SHA-256,
bcrypt or Argon2; the last two need start, the first 4 to 32 characters of the key.
All rows are brought in or none, unless --partial is given; exit code 1 if one is refused.";
