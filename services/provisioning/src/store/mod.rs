//! What provisioning remembers. The only place in this service with SQL.
//!
//! Functions that take no account serve reconcilers and placements, which act
//! for the node itself and not for a caller.

pub mod authority;
pub mod chains;
pub mod drift;
pub mod events;
pub mod nodes;
pub mod placements;
pub mod upgrades;
pub mod work;

/// Applied at start-up and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/provisioning");
