//! Queries on `node`: the fences, and the validators under them. Node first,
//! then validators in the order of their keys.

use berth_core::{AccountId, Error, Fence, NodeId, Resource, Result};
use berth_runtime::pg;
use sqlx::PgConnection;

/// Raises the fence of a node, in the caller's transaction. Takes the grant
/// away; the fence that is known already changes nothing.
///
/// # Errors
///
/// [`Error::Fenced`] for a lower one, [`Error::NotFound`] for a node of another
/// account.
pub async fn advance(
    conn: &mut PgConnection,
    account: AccountId,
    node: NodeId,
    fence: Fence,
) -> Result<()> {
    let known = hold(conn, account, node, fence).await?.fence;
    if fence > known {
        set(conn, node, fence, false).await?;
    }
    Ok(())
}

/// Lets the placement of the current fence sign, in the caller's transaction.
///
/// # Errors
///
/// [`Error::Fenced`] for another fence, [`Error::NotFound`] for a node without
/// one.
pub async fn grant(conn: &mut PgConnection, node: NodeId, fence: Fence) -> Result<()> {
    let known = lock(conn, node).await?;
    if fence != known.fence {
        return Err(fenced(fence, known.fence));
    }
    // Said again and again while a node runs: only the first time is written.
    if known.granted {
        return Ok(());
    }
    set(conn, node, fence, true).await
}

/// What is known of a node.
#[derive(sqlx::FromRow)]
pub(super) struct Known {
    account_id: AccountId,
    pub(super) fence: Fence,
    pub(super) granted: bool,
}

/// Locks a node of the account, which may be new here, for whoever acts for a
/// fence that is not below the one known.
pub(super) async fn hold(
    conn: &mut PgConnection,
    account: AccountId,
    node: NodeId,
    fence: Fence,
) -> Result<Known> {
    // A statement of its own: the lock below waits, and then reads the newest.
    sqlx::query("insert into node (id, account_id) values ($1, $2) on conflict do nothing")
        .bind(node)
        .bind(account)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    let known = lock(conn, node).await?;
    if known.account_id != account {
        return Err(Error::not_found(Resource::Node, node));
    }
    if fence < known.fence {
        return Err(fenced(fence, known.fence));
    }
    Ok(known)
}

fn fenced(have: Fence, want: Fence) -> Error {
    Error::Fenced {
        have: have.get(),
        want: want.get(),
    }
}

async fn lock(conn: &mut PgConnection, node: NodeId) -> Result<Known> {
    sqlx::query_as("select account_id, fence, granted from node where id = $1 for update")
        .bind(node)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Node, node))
}

async fn set(conn: &mut PgConnection, node: NodeId, fence: Fence, granted: bool) -> Result<()> {
    for statement in [
        "update node set fence = $2, granted = $3 where id = $1",
        "with held as (
             select public_key from validator where node_id = $1 order by public_key for update
         )
         update validator set fence = $2, granted = $3
         from held where validator.public_key = held.public_key",
    ] {
        sqlx::query(statement)
            .bind(node)
            .bind(fence)
            .bind(granted)
            .execute(&mut *conn)
            .await
            .map_err(pg::error)?;
    }
    Ok(())
}
