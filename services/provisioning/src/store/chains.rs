//! Queries on `chain`, its revisions and its files.

use crate::domain::{Chain, ChainFiles};
use berth_core::{Error, NodeId, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// The newest revision of a chain.
///
/// # Errors
///
/// [`Error::NotFound`].
pub async fn get(conn: &mut PgConnection, id: &str) -> Result<Chain> {
    sqlx::query_as(
        "select c.id, r.revision, c.version, c.create_time, r.chain_toml
         from chain c join chain_revision r on r.chain_id = c.id and r.revision = c.revision
         where c.id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(|| Error::not_found(Resource::Chain, id))
}

/// One revision of a chain.
///
/// # Errors
///
/// [`Error::NotFound`].
pub async fn revision(conn: &mut PgConnection, id: &str, revision: i64) -> Result<Chain> {
    sqlx::query_as(
        "select c.id, r.revision, c.version, c.create_time, r.chain_toml
         from chain c join chain_revision r on r.chain_id = c.id
         where c.id = $1 and r.revision = $2",
    )
    .bind(id)
    .bind(revision)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(|| Error::not_found(Resource::Chain, id))
}

/// The newest revision of a chain that has this version; nothing when none has.
///
/// # Errors
///
/// Those of the database.
pub async fn released(conn: &mut PgConnection, id: &str, version: &str) -> Result<Option<Chain>> {
    sqlx::query_as(
        "select c.id, r.revision, c.version, c.create_time, r.chain_toml
         from chain c join chain_revision r on r.chain_id = c.id
         where c.id = $1 and r.version = $2 order by r.revision desc limit 1",
    )
    .bind(id)
    .bind(version)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)
}

/// The versions of a chain, the newest first, ten at most.
///
/// # Errors
///
/// Those of the database.
pub async fn releases(conn: &mut PgConnection, id: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select version from chain_revision where chain_id = $1
         group by version order by max(revision) desc limit 10",
    )
    .bind(id)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// The version that each of these nodes runs.
///
/// # Errors
///
/// Those of the database.
pub async fn releases_of(
    conn: &mut PgConnection,
    nodes: &[NodeId],
) -> Result<BTreeMap<NodeId, String>> {
    let rows: Vec<(NodeId, String)> = sqlx::query_as(
        "select n.id, r.version from node n join chain_revision r
             on r.chain_id = n.chain_id and r.revision = n.chain_revision
         where n.id = any($1)",
    )
    .bind(nodes)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    Ok(rows.into_iter().collect())
}

/// The catalogue by name.
///
/// # Errors
///
/// Those of the database.
pub async fn list(conn: &mut PgConnection, page: &Page) -> Result<Vec<Chain>> {
    sqlx::query_as(
        "select c.id, r.revision, c.version, c.create_time, r.chain_toml
         from chain c join chain_revision r on r.chain_id = c.id and r.revision = c.revision
         where c.id > $1 order by c.id limit $2",
    )
    .bind(page.after().unwrap_or_default())
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Makes the newest revision of a chain; nothing when the newest is the same.
///
/// # Errors
///
/// Those of the database.
pub async fn register(
    conn: &mut PgConnection,
    id: &str,
    chain_toml: &str,
    chain_files: &ChainFiles,
) -> Result<()> {
    sqlx::query(
        "insert into chain (id, revision, version) values ($1, 0, 0) on conflict do nothing",
    )
    .bind(id)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    let newest: i64 = sqlx::query_scalar("select revision from chain where id = $1 for update")
        .bind(id)
        .fetch_one(&mut *conn)
        .await
        .map_err(pg::error)?;
    if newest > 0
        && revision(conn, id, newest).await?.chain_toml == chain_toml
        && files(conn, id, newest).await? == *chain_files
    {
        return Ok(());
    }
    sqlx::query("insert into chain_revision (chain_id, revision, chain_toml) values ($1, $2, $3)")
        .bind(id)
        .bind(newest + 1)
        .bind(chain_toml)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    for (name, contents) in chain_files {
        sqlx::query(
            "insert into chain_file (chain_id, revision, name, contents) values ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(newest + 1)
        .bind(name)
        .bind(contents)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    }
    sqlx::query("update chain set revision = revision + 1, version = version + 1 where id = $1")
        .bind(id)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// Replaces the text of a revision by one with more digests.
///
/// # Errors
///
/// [`Error::Conflict`] when the chain changed since it was read.
pub async fn pin(conn: &mut PgConnection, chain: &Chain, chain_toml: &str) -> Result<()> {
    let changed =
        sqlx::query("update chain set version = version + 1 where id = $1 and version = $2")
            .bind(&chain.id)
            .bind(chain.version)
            .execute(&mut *conn)
            .await
            .map_err(pg::error)?
            .rows_affected();
    if changed == 0 {
        return Err(Error::Conflict {
            resource: Resource::Chain,
        });
    }
    sqlx::query("update chain_revision set chain_toml = $3 where chain_id = $1 and revision = $2")
        .bind(&chain.id)
        .bind(chain.revision)
        .bind(chain_toml)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// The files of a revision, by name.
///
/// # Errors
///
/// Those of the database.
pub async fn files(conn: &mut PgConnection, id: &str, revision: i64) -> Result<ChainFiles> {
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "select name, contents from chain_file where chain_id = $1 and revision = $2",
    )
    .bind(id)
    .bind(revision)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    Ok(rows.into_iter().collect())
}
