//! Queries on `delivery`.

use super::events;
use crate::domain::{Answer, Delivery, DeliveryState};
use berth_core::{EventId, Result, WebhookId};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    event: events::Row,
    delivery_state: DeliveryState,
    attempts: i32,
    http_status: Option<i32>,
    latency_ms: Option<i64>,
    problem: String,
    attempt_time: Option<DateTime<Utc>>,
    next_time: DateTime<Utc>,
    since: DateTime<Utc>,
}

impl Row {
    fn delivery(self) -> Result<Delivery> {
        Ok(Delivery {
            event: self.event.event()?,
            state: self.delivery_state,
            attempts: self.attempts,
            answer: self.latency_ms.map(|latency| Answer {
                http_status: self.http_status.and_then(|status| status.try_into().ok()),
                latency: TimeDelta::milliseconds(latency),
                problem: self.problem,
            }),
            attempt_time: self.attempt_time,
            next_time: self.next_time,
            create_time: self.since,
        })
    }
}

/// What is to be sent to a webhook first, now or later.
///
/// # Errors
///
/// Those of the database.
pub async fn next(conn: &mut PgConnection, webhook: WebhookId) -> Result<Option<Delivery>> {
    let row: Option<Row> = sqlx::query_as(
        "select event.*, delivery.state as delivery_state, attempts, http_status, latency_ms,
                problem, attempt_time, next_time, delivery.create_time as since
         from delivery join account_event event on event.id = event_id
         where webhook_id = $1 and delivery.state = 'pending'
         order by next_time, event_id limit 1",
    )
    .bind(webhook)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    row.map(Row::delivery).transpose()
}

/// Deliveries to a webhook, newest first.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    webhook: WebhookId,
    page: &Page,
) -> Result<Vec<Delivery>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select event.*, delivery.state as delivery_state, attempts, http_status, latency_ms,
                problem, attempt_time, next_time, delivery.create_time as since
         from delivery join account_event event on event.id = event_id
         where webhook_id = $1 and ($2::uuid is null or event_id < $2)
         order by event_id desc limit $3",
    )
    .bind(webhook)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter().map(Row::delivery).collect()
}

/// Writes what came of a try, and when the next one is.
///
/// # Errors
///
/// Those of the database.
pub async fn record(
    conn: &mut PgConnection,
    (webhook, event): (WebhookId, EventId),
    (state, next_time): (DeliveryState, DateTime<Utc>),
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update delivery set state = $3, attempts = attempts + 1, http_status = $4,
                latency_ms = $5, problem = $6, attempt_time = $7, next_time = $8
         where webhook_id = $1 and event_id = $2",
    )
    .bind(webhook)
    .bind(event)
    .bind(state)
    .bind(answer.http_status.map(i32::from))
    .bind(answer.latency.num_milliseconds())
    .bind(&answer.problem)
    .bind(now)
    .bind(next_time)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Gives up what is still to be sent to a webhook.
///
/// # Errors
///
/// Those of the database.
pub async fn give_up(conn: &mut PgConnection, webhook: WebhookId) -> Result<()> {
    sqlx::query(
        "update delivery set state = 'failed',
                problem = case when problem = '' then 'the webhook was disabled before'
                               else problem end
         where webhook_id = $1 and state = 'pending'",
    )
    .bind(webhook)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Forgets deliveries to a webhook that are over since long ago.
///
/// # Errors
///
/// Those of the database.
pub async fn forget(
    conn: &mut PgConnection,
    webhook: WebhookId,
    before: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "delete from delivery where webhook_id = $1 and state <> 'pending' and create_time < $2",
    )
    .bind(webhook)
    .bind(before)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}
