//! Queries on `incident`.

use crate::domain::{Incident, IncidentState, Refused, Severity};
use berth_core::{AccountId, Error, IncidentId, NodeId, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// Adds refusals to the incidents of their nodes: to the one that is not
/// resolved, else to a new one. What is of no known node is left out.
///
/// # Errors
///
/// Those of the database.
pub async fn report(
    conn: &mut PgConnection,
    refused: &[Refused],
    now: DateTime<Utc>,
) -> Result<()> {
    let text = |text: fn(&Refused) -> &str| -> Vec<String> {
        refused.iter().map(|one| text(one).to_owned()).collect()
    };
    let severity = |one: &Refused| Severity::of(&one.reason);
    sqlx::query(
        "insert into incident as i (id, account_id, node_id, reason, severity, count, fence,
                                    public_key, detail, create_time, last_time)
         select g.id, t.account_id, t.node_id, g.reason, g.severity, g.count, g.fence,
                g.public_key, g.detail, $9, $9
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                     $7::text[], $8::text[])
              as g (id, node_id, reason, severity, count, fence, public_key, detail)
         join target t using (node_id)
         order by t.node_id, g.reason
         on conflict (node_id, reason) where state <> 'resolved' do update
         set count = i.count + excluded.count, last_time = greatest(i.last_time, excluded.last_time),
             fence = excluded.fence, public_key = excluded.public_key, detail = excluded.detail",
    )
    .bind(
        refused
            .iter()
            .map(|_| IncidentId::generate())
            .collect::<Vec<_>>(),
    )
    .bind(refused.iter().map(|one| one.node_id).collect::<Vec<_>>())
    .bind(text(|one| &one.reason))
    .bind(refused.iter().map(severity).collect::<Vec<_>>())
    .bind(refused.iter().map(|one| one.count).collect::<Vec<_>>())
    .bind(refused.iter().map(|one| one.fence).collect::<Vec<_>>())
    .bind(text(|one| &one.public_key))
    .bind(text(|one| &one.detail))
    .bind(now)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Incidents of the account, newest first: of one node or all, with those that
/// are `resolved` or without.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    node: Option<NodeId>,
    resolved: bool,
    page: &Page,
) -> Result<Vec<Incident>> {
    sqlx::query_as(
        "select * from incident
         where account_id = $1 and ($2::uuid is null or node_id = $2)
           and ($3 or state <> 'resolved') and ($4::uuid is null or id < $4)
         order by id desc limit $5",
    )
    .bind(account)
    .bind(node)
    .bind(resolved)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// An incident of an account; nobody changes it until the transaction ends.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn lock(conn: &mut PgConnection, account: AccountId, id: IncidentId) -> Result<Incident> {
    sqlx::query_as("select * from incident where id = $1 and account_id = $2 for update")
        .bind(id)
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Incident, id))
}

/// The same without the lock.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: IncidentId) -> Result<Incident> {
    sqlx::query_as("select * from incident where id = $1 and account_id = $2")
        .bind(id)
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Incident, id))
}

/// Notes that somebody took up a locked incident.
///
/// # Errors
///
/// Those of the database.
pub async fn acknowledge(
    conn: &mut PgConnection,
    before: &Incident,
    state: IncidentState,
    now: DateTime<Utc>,
) -> Result<()> {
    if before.state == state {
        return Ok(());
    }
    sqlx::query(
        "update incident set state = $2, acknowledge_time = $3, version = version + 1
         where id = $1",
    )
    .bind(before.id)
    .bind(state)
    .bind(now)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Resolves what was not reported for so long, and forgets what has been
/// resolved for `kept`.
///
/// # Errors
///
/// Those of the database.
pub async fn settle(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    quiet: TimeDelta,
    kept: TimeDelta,
) -> Result<()> {
    sqlx::query(
        "update incident set state = 'resolved', resolve_time = $1, version = version + 1
         where state <> 'resolved' and last_time < $2",
    )
    .bind(now)
    .bind(now - quiet)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    sqlx::query("delete from incident where state = 'resolved' and resolve_time < $1")
        .bind(now - kept)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
