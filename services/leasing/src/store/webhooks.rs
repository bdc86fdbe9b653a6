//! Queries on `webhook`.

use crate::domain::{MAX_WEBHOOKS, NewWebhook, Topic, Webhook, WebhookState};
use berth_core::{AccountId, Error, Resource, Result, WebhookId};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

#[derive(sqlx::FromRow)]
struct Row {
    id: WebhookId,
    account_id: AccountId,
    url: String,
    topics: Vec<String>,
    state: WebhookState,
    status_reason: String,
    success_time: Option<DateTime<Utc>>,
    version: i64,
    create_time: DateTime<Utc>,
}

impl Row {
    fn webhook(self) -> Result<Webhook> {
        let topics: std::result::Result<Vec<Topic>, String> =
            self.topics.iter().map(|topic| topic.parse()).collect();
        Ok(Webhook {
            id: self.id,
            account_id: self.account_id,
            url: self.url,
            topics: topics.map_err(Error::internal)?,
            state: self.state,
            status_reason: self.status_reason,
            success_time: self.success_time,
            version: self.version,
            create_time: self.create_time,
        })
    }
}

/// Stores a webhook that is told from now on.
///
/// # Errors
///
/// [`Error::Exhausted`] when the account has as many as it may.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewWebhook,
    now: DateTime<Utc>,
) -> Result<WebhookId> {
    // Two at once count one after the other.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('webhook' || $1::text, 0))")
        .bind(new.account_id)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    let topics: Vec<&str> = new.topics.iter().map(|topic| topic.as_str()).collect();
    let id = WebhookId::generate();
    let stored = sqlx::query(
        "insert into webhook (id, account_id, url, topics, state, create_time)
         select $1, $2, $3, $4, 'enabled', $5
         where (select count(*) from webhook where account_id = $2) < $6",
    )
    .bind(id)
    .bind(new.account_id)
    .bind(&new.url)
    .bind(topics)
    .bind(now)
    .bind(MAX_WEBHOOKS)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    if stored.rows_affected() == 1 {
        Ok(id)
    } else {
        Err(Error::exhausted(
            "TOO_MANY_WEBHOOKS",
            format!("an account has at most {MAX_WEBHOOKS} webhooks; delete one first"),
        ))
    }
}

/// Finds a webhook of the account.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account, or is being
/// deleted.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: WebhookId) -> Result<Webhook> {
    let row: Option<Row> = sqlx::query_as(
        "select * from webhook where id = $1 and account_id = $2 and state <> 'deleting'",
    )
    .bind(id)
    .bind(account)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    row.ok_or_else(|| Error::not_found(Resource::Webhook, id))?
        .webhook()
}

/// Finds any webhook, for the reconciler.
///
/// # Errors
///
/// Those of the database.
pub async fn find(conn: &mut PgConnection, id: WebhookId) -> Result<Option<Webhook>> {
    let row: Option<Row> = sqlx::query_as("select * from webhook where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?;
    row.map(Row::webhook).transpose()
}

/// Webhooks of the account, newest first.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    page: &Page,
) -> Result<Vec<Webhook>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from webhook
         where account_id = $1 and state <> 'deleting' and ($2::uuid is null or id < $2)
         order by id desc limit $3",
    )
    .bind(account)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter().map(Row::webhook).collect()
}

/// Writes the state of a webhook, unless it changed since it was read.
///
/// # Errors
///
/// [`Error::Conflict`] when it changed.
pub async fn set_state(
    conn: &mut PgConnection,
    before: &Webhook,
    state: WebhookState,
    reason: &str,
) -> Result<()> {
    let saved = sqlx::query(
        "update webhook set state = $3, status_reason = $4, version = version + 1
         where id = $1 and version = $2",
    )
    .bind(before.id)
    .bind(before.version)
    .bind(state)
    .bind(reason)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    if saved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Conflict {
            resource: Resource::Webhook,
        })
    }
}

/// Says that it took something, which changes no etag.
///
/// # Errors
///
/// Those of the database.
pub async fn succeeded(conn: &mut PgConnection, id: WebhookId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query("update webhook set success_time = $2 where id = $1")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// Forgets a webhook with its deliveries.
///
/// # Errors
///
/// Those of the database.
pub async fn remove(conn: &mut PgConnection, id: WebhookId) -> Result<()> {
    sqlx::query("delete from webhook where id = $1 and state = 'deleting'")
        .bind(id)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
