//! What every connection has to be before anything is signed over it. No option
//! turns any of this off.

use super::seals::{self, Mark};
use berth_core::{Error, Result, report};
use berth_runtime::pg::{self, DatabaseConfig};
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Row as _};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which server and timeline a database lives on: a restored server or a
/// promoted standby has another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage(pub String);

/// A database that nothing may be signed on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unsafe(String);

/// Connects once and says what is wrong with the database, if anything is.
///
/// # Errors
///
/// [`Error::Precondition`] for a database that nothing may be signed on, those
/// of the database.
pub async fn examine(config: &DatabaseConfig) -> Result<()> {
    let mut conn = options(config)?.connect().await.map_err(pg::error)?;
    let refused = |message| Error::precondition("UNSAFE_DATABASE", message);
    if let Err(error) = admit(&mut conn).await {
        return Err(if let sqlx::Error::Configuration(problem) = &error {
            refused(problem.to_string())
        } else {
            pg::error(error)
        });
    }
    migrated(&mut conn).await.map_err(refused)
}

/// Connections, checked each time that one is made.
///
/// # Errors
///
/// [`Error::Internal`] when the URL is none.
pub fn pool(config: &DatabaseConfig, connections: u32) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(|conn, _| Box::pin(async move { admit(conn).await.map(drop) }));
    Ok(pool.connect_lazy_with(options(config)?))
}

/// Connections for decisions: only to a server that `permits` knows, and without
/// a round trip before each use. A dead one fails its statement, and what has no
/// answer is not signed.
///
/// # Errors
///
/// [`Error::Internal`] when the URL is none.
pub fn signing_pool(
    config: &DatabaseConfig,
    connections: u32,
    permits: impl Fn(&Lineage) -> Result<Option<Mark>, String> + Send + Sync + 'static,
) -> Result<PgPool> {
    let permits = Arc::new(permits);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .test_before_acquire(false)
        .after_connect(move |conn, _| {
            let permits = Arc::clone(&permits);
            Box::pin(async move {
                let reached = permits(&admit(&mut *conn).await?).map_err(unsafe_database)?;
                come_so_far(&mut *conn, reached).await?;
                // One plan fits every batch, and making it takes longer than
                // carrying it out for one claim.
                sqlx::query("set plan_cache_mode = force_generic_plan")
                    .execute(conn)
                    .await
                    .map(drop)
            })
        });
    Ok(pool.connect_lazy_with(options(config)?))
}

/// Refuses a database that was put back while this signer runs.
async fn come_so_far(conn: &mut PgConnection, reached: Option<Mark>) -> sqlx::Result<()> {
    let Some(mark) = reached else {
        return Ok(());
    };
    match seals::reaches(conn, &mark).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(unsafe_database(seals::UNDONE)),
        Err(error) => Err(unsafe_database(report(&error))),
    }
}

/// Who connects. `application_name` is how operators tell its sessions.
fn options(config: &DatabaseConfig) -> Result<PgConnectOptions> {
    Ok(pg::options(config)?.application_name("berth-signer"))
}

fn unsafe_database(problem: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(Unsafe(problem.into())))
}

/// Makes commits of this session durable and holds the server against the rules.
async fn admit(conn: &mut PgConnection) -> sqlx::Result<Lineage> {
    sqlx::query("set synchronous_commit = on")
        .execute(&mut *conn)
        .await?;
    let row = sqlx::query(
        "select current_setting('synchronous_commit') as commits,
                current_setting('fsync') as fsync,
                current_setting('full_page_writes') as full_page_writes,
                current_setting('synchronous_standby_names') as standbys,
                (select count(*) from pg_stat_replication where state is distinct from 'backup')
                    as attached,
                pg_is_in_recovery() as standby,
                current_user::text as role,
                exists (select from pg_roles
                        where rolsuper and pg_has_role(current_user, oid, 'member')) as superuser,
                exists (
                    select datdba from pg_database
                    where datname = current_database() and pg_has_role(current_user, datdba, 'member')
                    union all
                    select nspowner from pg_namespace
                    where nspname = current_schema() and pg_has_role(current_user, nspowner, 'member')
                    union all
                    select relowner from pg_class
                    where relnamespace = current_schema()::regnamespace
                      and pg_has_role(current_user, relowner, 'member')
                ) as owner",
    )
    .fetch_one(&mut *conn)
    .await?;
    if let Some(problem) = problem(&row)? {
        return Err(unsafe_database(problem));
    }
    lineage(conn).await
}

/// Where the database lives now.
pub(super) async fn lineage(conn: &mut PgConnection) -> sqlx::Result<Lineage> {
    sqlx::query_scalar(
        "select (select system_identifier from pg_control_system()) || '/'
                || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    )
    .fetch_one(conn)
    .await
    .map(Lineage)
}

/// What is wrong with a server, and what to do.
fn problem(row: &PgRow) -> sqlx::Result<Option<String>> {
    let text = |name| row.try_get::<String, _>(name);
    let is = |name| row.try_get::<bool, _>(name);
    let role = text("role")?;
    let wrong = if is("superuser")? {
        format!(
            "{role} is a superuser, whom no trigger stops: serve as a role of its own, \
             made with `create role NAME login` and `berth-signer migrate --grant-to NAME`"
        )
    } else if is("owner")? {
        format!(
            "{role} owns the database, its schema or something in it, so that it could remove \
             what protects the record: serve as another role, and grant it what it needs with \
             `berth-signer migrate --grant-to NAME`"
        )
    } else if is("standby")? {
        "this server is a standby: give the address of the primary".to_owned()
    } else if text("fsync")? != "on" || text("full_page_writes")? != "on" {
        "a power cut can take back what was signed: set fsync and full_page_writes to on".to_owned()
    } else if text("commits")? != "on" {
        "the session cannot set synchronous_commit: connect without a pooler".to_owned()
    } else if row.try_get::<i64, _>("attached")? > 0 && text("standbys")?.is_empty() {
        "a standby is attached and not synchronous; promoted, it would not know what was signed \
         last: name it in synchronous_standby_names"
            .to_owned()
    } else {
        return Ok(None);
    };
    Ok(Some(wrong))
}

/// Whether the owner has applied every migration that this program knows.
async fn migrated(conn: &mut PgConnection) -> Result<(), String> {
    const REMEDY: &str = "run `berth-signer migrate` of this version";
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success")
            .fetch_all(conn)
            .await
            .map_err(|error| format!("the database is not prepared ({error}): {REMEDY}"))?;
    for migration in super::MIGRATIONS.iter() {
        let known = applied
            .iter()
            .find(|(version, _)| *version == migration.version);
        let problem = match known {
            None => "is not applied".to_owned(),
            Some((_, checksum)) if *checksum != *migration.checksum => {
                report(&MigrateError::VersionMismatch(migration.version))
            }
            Some(_) => continue,
        };
        let version = migration.version;
        return Err(format!("migration {version} {problem}: {REMEDY}"));
    }
    Ok(())
}

/// The time that the database has, in microseconds since 1970.
///
/// # Errors
///
/// Those of the database.
pub async fn clock(conn: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
        .fetch_one(conn)
        .await
        .map_err(pg::error)
}
