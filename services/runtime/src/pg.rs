//! The database: connecting, migrating, and its failures as [`Error`]s.

use berth_core::Error;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr as _;
use std::time::Duration;

/// Where the database of a service is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user@host/name`; `host` may be a socket folder.
    pub url: SecretString,
    /// Most connections.
    #[serde(default = "default_connections")]
    pub max_connections: u32,
}

fn default_connections() -> u32 {
    16
}

/// Connects and applies the service's migrations. Several replicas may do so
/// at once.
///
/// # Errors
///
/// [`Error::Unavailable`] when the database does not answer,
/// [`Error::Internal`] when a migration fails.
pub async fn connect(config: &DatabaseConfig, migrations: &Migrator) -> Result<PgPool, Error> {
    let pool = PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options(config)?)
        .await
        .map_err(error)?;
    migrations.run(&pool).await.map_err(Error::internal)?;
    Ok(pool)
}

/// How a session of a service begins.
///
/// # Errors
///
/// [`Error::Internal`] when the URL is none.
pub fn options(config: &DatabaseConfig) -> Result<PgConnectOptions, Error> {
    Ok(PgConnectOptions::from_str(config.url.expose_secret())
        .map_err(Error::internal)?
        .application_name("berth")
        .options([
            ("statement_timeout", "15s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "30s"),
        ]))
}

/// Maps a database error to the error that callers see.
///
/// A constraint that callers can break is handled beside its query; one that
/// arrives here is a bug.
#[must_use]
pub fn error(error: sqlx::Error) -> Error {
    let gone = error
        .as_database_error()
        .and_then(|e| e.code())
        // Shutting down, starting up, lost, timed out, deadlock, serialisation.
        .is_some_and(|code| {
            code.starts_with("57P")
                || code.starts_with("08")
                || code.starts_with("40")
                || code == "55P03"
        });
    let down = matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
    );
    if down || gone {
        Error::unavailable(error)
    } else {
        Error::internal(error)
    }
}

/// Whether the error is a violation of the named constraint.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.constraint() == Some(constraint))
}
