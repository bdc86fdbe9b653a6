//! What leasing remembers. The only place in this service with SQL.

pub mod deliveries;
pub mod events;
pub mod forecast;
pub mod leases;
pub mod ledger;
mod row;
pub mod vault;
pub mod webhooks;

/// Applied at start-up and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/leasing");
