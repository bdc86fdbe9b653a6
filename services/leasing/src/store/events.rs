//! Queries on `account_event`.

use crate::domain::{AccountEvent, NewEvent, Object, Topic};
use berth_core::{AccountId, Error, EventId, LeaseId, Result, WebhookId};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// The columns of an event, wherever it is read.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: EventId,
    account_id: AccountId,
    topic: Topic,
    lease_id: Option<LeaseId>,
    currency: Option<String>,
    stop_time: Option<DateTime<Utc>>,
    message: String,
    create_time: DateTime<Utc>,
}

impl Row {
    pub(super) fn event(self) -> Result<AccountEvent> {
        let currency = self.currency.map(|code| code.parse()).transpose();
        let currency = currency.map_err(|problem: String| Error::internal(problem))?;
        Ok(AccountEvent {
            id: self.id,
            account_id: self.account_id,
            topic: Some(self.topic),
            object: match (self.lease_id, currency) {
                (Some(lease), _) => Some(Object::Lease(lease)),
                (None, Some(currency)) => Some(Object::Balance(currency)),
                (None, None) => None,
            },
            stop_time: self.stop_time,
            message: self.message,
            create_time: self.create_time,
        })
    }
}

/// Writes an event with its deliveries, unless it is there already; answers
/// with the webhooks that have something to send then.
///
/// # Errors
///
/// Those of the database.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewEvent,
    now: DateTime<Utc>,
) -> Result<Vec<WebhookId>> {
    let (lease, currency) = match new.object {
        Object::Lease(lease) => (Some(lease), None),
        Object::Balance(currency) => (None, Some(currency.to_string())),
    };
    sqlx::query_scalar(
        "with made as (
             insert into account_event (id, account_id, topic, lease_id, currency, occasion,
                                        ahead_seconds, stop_time, message, create_time)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict do nothing returning id, account_id, topic)
         insert into delivery (webhook_id, event_id, next_time, create_time)
         select webhook.id, made.id, $10, $10 from made join webhook
             on webhook.account_id = made.account_id and webhook.state = 'enabled'
             and (webhook.topics = '{}' or made.topic = any(webhook.topics))
         returning webhook_id",
    )
    .bind(EventId::generate())
    .bind(new.account_id)
    .bind(new.topic)
    .bind(lease)
    .bind(currency)
    .bind(new.occasion)
    .bind(new.ahead.num_seconds())
    .bind(new.stop_time)
    .bind(&new.message)
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Events of the account, newest first.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    lease: Option<LeaseId>,
    page: &Page,
) -> Result<Vec<AccountEvent>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from account_event
         where account_id = $1 and ($2::uuid is null or lease_id = $2)
           and ($3::uuid is null or id < $3)
         order by id desc limit $4",
    )
    .bind(account)
    .bind(lease)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter().map(Row::event).collect()
}

/// What was told of active leases and is so still, oldest first.
///
/// # Errors
///
/// Those of the database.
pub async fn warnings(
    conn: &mut PgConnection,
    account: AccountId,
    leases: &[LeaseId],
) -> Result<Vec<(LeaseId, String)>> {
    sqlx::query_as(
        "select lease_id, message from (
             select distinct on (event.lease_id, event.topic)
                    event.lease_id, event.message, event.id
             from account_event event join lease on lease.id = event.lease_id
             where event.account_id = $1 and event.lease_id = any($2) and lease.state = 'active'
               and (event.topic = 'lease.ends_soon' and event.occasion = lease.expire_time
                    or event.topic = 'lease.unpaid' and event.occasion = lease.unpaid_since)
             order by event.lease_id, event.topic, event.id desc) as newest
         order by id",
    )
    .bind(account)
    .bind(leases)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}
