//! The database: connecting, migrating, and its failures as [`Error`]s.

use crate::config::ConfigError;
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

impl DatabaseConfig {
    /// Refuses a URL that leads to no Postgres.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key in its section; never the URL, in which a
    /// password may stand.
    pub fn check(&self, section: &str) -> Result<(), ConfigError> {
        let key = format!("{section}.database.url");
        check_url(&self.url).map_err(|problem| ConfigError::key(&key, problem))
    }
}

/// Refuses what is no URL of a Postgres.
///
/// # Errors
///
/// What it should be.
pub fn check_url(url: &SecretString) -> Result<(), &'static str> {
    let url = url.expose_secret();
    let ours = ["postgres://", "postgresql://"];
    if ours.iter().any(|scheme| url.starts_with(scheme)) && PgConnectOptions::from_str(url).is_ok()
    {
        Ok(())
    } else {
        Err("expected a URL such as postgres://user@host/name")
    }
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
        .is_some_and(|code| passes(&code));
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

/// Whether what the database complains of passes, by itself or when its operator
/// puts it right: then the same call is worth another try.
fn passes(code: &str) -> bool {
    // Lost; deadlock, serialisation; no disk, memory or connection left; shutting
    // down, starting up, timed out; lock not to be had; a standby.
    ["08", "40", "53", "57"]
        .iter()
        .any(|class| code.starts_with(class))
        || code == "55P03"
        || code == "25006"
}

/// Whether the error is a violation of the named constraint.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.constraint() == Some(constraint))
}

/// Whether two transactions waited for each other, and this one gave way.
#[must_use]
pub fn is_deadlock(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40P01")
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn a_database_that_is_full_busy_or_away_is_worth_another_try_and_a_bug_is_not() {
        for code in [
            "08006", "40001", "40P01", "53100", "53300", "57014", "57P01", "57P03", "55P03",
            "25006",
        ] {
            assert!(passes(code), "{code}");
        }
        for code in ["23505", "42601", "22003", "25P02", "XX000"] {
            assert!(!passes(code), "{code}");
        }
    }
}
