//! Queries on `node`.

use super::{events, upgrades};
use crate::domain::{Component, Event, Node, Said, Side, Source, State, Step, Transition};
use berth_core::{AccountId, Error, LeaseId, Money, Name, NodeId, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Row as _};
use std::collections::BTreeMap;

/// Longest reason, in characters.
const MAX_REASON: i32 = 1000;

impl FromRow<'_, PgRow> for Source {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        if let Some(lease) = row.try_get("source_lease_id")? {
            return Ok(Self::Lease(lease));
        }
        if let Some(offer) = row.try_get("source_offer_id")? {
            return Ok(Self::Offer(offer));
        }
        let currency: String = row.try_get("max_price_currency")?;
        let currency = currency
            .parse()
            .map_err(|problem: String| sqlx::Error::ColumnDecode {
                index: "max_price_currency".to_owned(),
                source: problem.into(),
            })?;
        Ok(Self::Price(Money::new(
            currency,
            row.try_get("max_price_micros")?,
        )))
    }
}

/// Stores a node and its first event.
///
/// # Errors
///
/// [`Error::Exists`] when the account has a node of that name.
pub async fn insert(conn: &mut PgConnection, node: &Node) -> Result<()> {
    let (lease, offer, price) = match node.source {
        Source::Lease(lease) => (Some(lease), None, None),
        Source::Offer(offer) => (None, Some(offer), None),
        Source::Price(price) => (None, None, Some(price)),
    };
    sqlx::query(
        "insert into node (id, account_id, name, chain_id, chain_revision, role,
             source_lease_id, source_offer_id, max_price_currency, max_price_micros,
             term_seconds, settings, validators, state, create_time)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(node.id)
    .bind(node.account_id)
    .bind(&node.name)
    .bind(&node.chain_id)
    .bind(node.chain_revision)
    .bind(node.role)
    .bind(lease)
    .bind(offer)
    .bind(price.map(|price| price.currency.as_str().to_owned()))
    .bind(price.map(|price| price.micros))
    .bind(node.term_seconds)
    .bind(Json(&node.settings))
    .bind(&node.validators)
    .bind(node.state)
    .bind(node.create_time)
    .execute(&mut *conn)
    .await
    .map_err(|error| {
        if pg::violates(&error, "node_name_taken") {
            Error::Exists {
                resource: Resource::Node,
                name: node.name.to_string(),
            }
        } else {
            pg::error(error)
        }
    })?;
    events::append(conn, node, &Step::new("state", "accepted")).await
}

/// Finds a node of the account.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: NodeId) -> Result<Node> {
    sqlx::query_as("select * from node where id = $1 and account_id = $2")
        .bind(id)
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Node, id))
}

/// Finds a node of the account by its name: the one that is not retired, else
/// the one that was retired last.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get_by_name(conn: &mut PgConnection, account: AccountId, name: &Name) -> Result<Node> {
    sqlx::query_as(
        "select * from node where account_id = $1 and name = $2
         order by (state = 'retired'), id desc limit 1",
    )
    .bind(account)
    .bind(name)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(|| Error::not_found(Resource::Node, name))
}

/// Finds the node of the account to which a validator belongs.
///
/// # Errors
///
/// Those of the database.
pub async fn of_validator(
    conn: &mut PgConnection,
    account: AccountId,
    public_key: &str,
) -> Result<Option<Node>> {
    sqlx::query_as(
        "select * from node
         where account_id = $1 and $2 = any (validators) and state <> 'retired'
         order by (state = 'running') desc, id desc limit 1",
    )
    .bind(account)
    .bind(public_key)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)
}

/// The nodes of an account, newest first.
///
/// # Errors
///
/// [`Error::Invalid`] for the page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    page: &Page,
    show_retired: bool,
) -> Result<Vec<Node>> {
    sqlx::query_as(
        "select * from node
         where account_id = $1 and ($2::uuid is null or id < $2) and ($3 or state <> 'retired')
         order by id desc limit $4",
    )
    .bind(account)
    .bind(page.after_uuid()?)
    .bind(show_retired)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// A node, for a worker.
///
/// # Errors
///
/// [`Error::NotFound`].
pub async fn load(conn: &mut PgConnection, id: NodeId) -> Result<Node> {
    sqlx::query_as("select * from node where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Node, id))
}

/// Does to a node what an event does to it, and writes the change of state
/// down. `why` is kept as the reason, for people.
///
/// # Errors
///
/// [`Error::Precondition`] when the state forbids the event,
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn apply(conn: &mut PgConnection, node: &Node, event: Event, why: &str) -> Result<Node> {
    match node.apply(event)? {
        Transition::Stay => Ok(node.clone()),
        Transition::To(state) => set_state(conn, node, state, why).await,
    }
}

async fn set_state(conn: &mut PgConnection, node: &Node, state: State, why: &str) -> Result<Node> {
    let node: Node = sqlx::query_as(
        "update node set state = $3, status_reason = left($4, $5), version = version + 1
         where id = $1 and version = $2 returning *",
    )
    .bind(node.id)
    .bind(node.version)
    .bind(state)
    .bind(why)
    .bind(MAX_REASON)
    .fetch_optional(&mut *conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(changed)?;
    tracing::info!(node = %node.id, %state, why, "node changed its state");
    let message = if why.is_empty() {
        state.to_string()
    } else {
        format!("{state}: {why}")
    };
    events::append(conn, &node, &Step::new("state", message)).await?;
    if !state.keeps_upgrade() {
        upgrades::give_up(conn, &node, &format!("the node is {state}")).await?;
    }
    Ok(node)
}

/// Changes what the owner chose.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn set_settings(
    conn: &mut PgConnection,
    node: &Node,
    settings: &BTreeMap<String, String>,
) -> Result<Node> {
    sqlx::query_as(
        "update node set settings = $3, version = version + 1
         where id = $1 and version = $2 returning *",
    )
    .bind(node.id)
    .bind(node.version)
    .bind(Json(settings))
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(changed)
}

/// Counts a node as changed: its owner wants something of it that stands
/// elsewhere.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn touch(conn: &mut PgConnection, node: &Node) -> Result<Node> {
    set_revision(conn, node, node.chain_revision).await
}

/// Takes a node to another revision of its chain, and the settings with it.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn set_side(conn: &mut PgConnection, node: &Node, side: &Side) -> Result<Node> {
    let node = set_revision(conn, node, side.revision).await?;
    set_settings(conn, &node, &side.settings).await
}

/// Takes a node to another revision of its chain.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn set_revision(conn: &mut PgConnection, node: &Node, revision: i64) -> Result<Node> {
    sqlx::query_as(
        "update node set chain_revision = $3, version = version + 1
         where id = $1 and version = $2 returning *",
    )
    .bind(node.id)
    .bind(node.version)
    .bind(revision)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(changed)
}

/// Notes the lease in use, or that none is; then the next lease that is made
/// for the node is another one.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn set_lease(
    conn: &mut PgConnection,
    node: &Node,
    lease: Option<LeaseId>,
) -> Result<Node> {
    sqlx::query_as(
        "update node set lease_id = $3, lease_asked = false, version = version + 1,
             lease_number = lease_number + case when $3::uuid is null then 1 else 0 end
         where id = $1 and version = $2 returning *",
    )
    .bind(node.id)
    .bind(node.version)
    .bind(lease)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?
    .ok_or_else(changed)
}

/// Notes that a lease is about to be asked for, so that it is found again even
/// if the answer never comes.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read.
pub async fn set_asked(conn: &mut PgConnection, node: &Node) -> Result<()> {
    let done = sqlx::query("update node set lease_asked = true where id = $1 and version = $2")
        .bind(node.id)
        .bind(node.version)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(changed())
    }
}

/// A node, locked until the transaction ends. Wake its work first: workers lock
/// in that order.
///
/// # Errors
///
/// [`Error::NotFound`].
pub async fn lock(conn: &mut PgConnection, id: NodeId) -> Result<Node> {
    sqlx::query_as("select * from node where id = $1 for update")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Node, id))
}

/// Notes why a node waits. Watchers hear of it when it is news; the version
/// stays, so that a caller's etag does.
///
/// # Errors
///
/// Those of the database.
pub async fn set_reason(conn: &mut PgConnection, id: NodeId, reason: &str) -> Result<()> {
    let news = sqlx::query(
        "update node set status_reason = left($2, $3)
         where id = $1 and status_reason <> left($2, $3) and state not in ('failed', 'retired')",
    )
    .bind(id)
    .bind(reason)
    .bind(MAX_REASON)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?
    .rows_affected();
    if news == 0 {
        return Ok(());
    }
    events::announce(conn, id).await
}

/// Notes what was seen of a node, likewise.
///
/// # Errors
///
/// Those of the database.
pub async fn set_signals(
    conn: &mut PgConnection,
    id: NodeId,
    said: &Said,
    components: &[Component],
) -> Result<()> {
    let news = sqlx::query(
        "update node set health = $2, health_reason = left($3, $5), components = $4,
             duty = $6, duty_reason = left($7, $5)
         where id = $1 and (health, health_reason, components, duty, duty_reason)
             is distinct from ($2, left($3, $5), $4, $6, left($7, $5))",
    )
    .bind(id)
    .bind(said.health)
    .bind(&said.health_reason)
    .bind(Json(components))
    .bind(MAX_REASON)
    .bind(said.duty)
    .bind(&said.duty_reason)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?
    .rows_affected();
    if news == 0 {
        return Ok(());
    }
    events::announce(conn, id).await
}

fn changed() -> Error {
    Error::Conflict {
        resource: Resource::Node,
    }
}
