//! What the owner of the database does: tables, partitions, and the rights of
//! the role that serves.

use berth_core::{Error, Result};
use berth_runtime::pg;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::str::FromStr as _;

/// Months for which there is a partition; what is later goes to the default one.
const MONTHS: i32 = 36;

/// Applies the migrations, makes the partitions of the coming years and grants
/// the role that serves what it needs. May be repeated.
///
/// # Errors
///
/// [`Error::Invalid`] for the URL of another database, [`Error::Precondition`] when
/// the role is none that may serve, those of the database.
pub async fn install(owner: &SecretString, role: &str) -> Result<()> {
    pg::check_url(owner).map_err(|problem| Error::invalid("--database-url", problem))?;
    // Without the limits of a session that serves: a migration may take long.
    let options = PgConnectOptions::from_str(owner.expose_secret()).map_err(Error::internal)?;
    let mut conn = options.connect().await.map_err(pg::error)?;
    may_serve(&mut conn, role).await?;
    super::MIGRATIONS
        .run(&mut conn)
        .await
        .map_err(Error::internal)?;
    let mut txn = conn.begin().await.map_err(pg::error)?;
    sqlx::query("select signature_months($1)")
        .bind(MONTHS)
        .execute(&mut *txn)
        .await
        .map_err(pg::error)?;
    grant(&mut txn, role).await.map_err(pg::error)?;
    txn.commit().await.map_err(pg::error)
}

async fn may_serve(conn: &mut PgConnection, role: &str) -> Result<()> {
    let owns: Option<bool> = sqlx::query_scalar(
        "select pg_has_role(oid, current_user, 'member') from pg_roles where rolname = $1",
    )
    .bind(role)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    let refused = |message| Err(Error::precondition("UNSAFE_DATABASE", message));
    match owns {
        Some(false) => Ok(()),
        Some(true) => refused(format!(
            "{role} is a superuser or the owner: serve as a role that owns nothing"
        )),
        None => refused(format!(
            "there is no role {role}: make it with `create role {role} login`"
        )),
    }
}

/// Read and add everywhere, change what changes, forget nothing.
async fn grant(conn: &mut PgConnection, role: &str) -> sqlx::Result<()> {
    sqlx::query("select set_config('berth.serving', $1, true)")
        .bind(role)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "do $$
         declare
             serving text := quote_ident(current_setting('berth.serving'));
             name    text;
         begin
             execute format('grant usage on schema %I to %s', current_schema(), serving);
             for name in select relname from pg_class
                         where relnamespace = current_schema()::regnamespace
                           and relkind in ('r', 'p') and not relispartition
             loop
                 execute format('revoke all on %I from %s', name, serving);
                 execute format('grant %s on %I to %s', case
                     when name in ('identity', '_sqlx_migrations') then 'select'
                     when name in ('signature', 'seal') then 'select, insert'
                     else 'select, insert, update' end, name, serving);
             end loop;
         end $$",
    )
    .execute(conn)
    .await
    .map(drop)
}
