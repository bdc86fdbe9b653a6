//! What inventory remembers. The only place in this service with SQL.

pub mod machines;
pub mod offers;
pub mod reservations;
pub mod suppliers;

/// Applied at start-up and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/inventory");
