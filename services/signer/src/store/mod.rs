//! What the signer remembers. The only place in this service with SQL.

pub mod bindings;
pub mod chains;
pub mod checks;
pub mod custody;
pub mod decide;
pub mod fences;
pub mod history;
pub mod install;
pub mod roster;
pub mod seals;
pub mod validators;
pub mod withdrawn;

/// Applied by the owner of the database, and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/signer");
