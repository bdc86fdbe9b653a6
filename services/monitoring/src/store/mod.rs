//! What monitoring remembers. The only place in this service with SQL.

pub mod incidents;
pub mod observed;
pub mod samples;
pub mod targets;

/// Applied at start-up and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/monitoring");

/// Channel on which a node's new samples and targets are announced, by its id.
pub const CHANNEL: &str = "berth_samples";
