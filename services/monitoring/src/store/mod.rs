//! What monitoring remembers. The only place in this service with SQL.

pub mod exports;
pub mod incidents;
pub mod observed;
pub mod samples;
pub mod targets;

/// Applied at start-up and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/monitoring");

/// Channel on which new samples and targets of nodes are announced, by their ids
/// with commas between.
pub const CHANNEL: &str = "berth_samples";
