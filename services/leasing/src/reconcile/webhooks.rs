//! Sending webhooks what waits for them, and forgetting those that are
//! deleted.
//!
//! One work a webhook: whatever waits, it is called once at a time, and one
//! that hangs takes nobody else's turn.

use crate::domain::{Delivery, DeliveryState, KEPT, Next, Webhook, WebhookChange, WebhookState};
use crate::life::WEBHOOK;
use crate::outbox::Outbox;
use crate::store::{deliveries, webhooks as store};
use berth_core::{Error, Result, WebhookId, now, report};
use berth_runtime::pg;
use berth_runtime::reconcile::{self, Claim, Outcome, Reconciler};
use chrono::TimeDelta;
use sqlx::PgPool;
use std::time::Duration;
use uuid::Uuid;

/// Most webhooks that one replica calls at once.
const CONCURRENCY: usize = 16;
/// How long to wait for Vault when it does not answer.
const DEPENDENCY: Duration = Duration::from_secs(5);

/// A reconciler for webhooks.
#[must_use]
pub fn webhooks(db: PgPool, outbox: Outbox) -> Reconciler {
    Reconciler::new(db.clone(), CONCURRENCY).on(WEBHOOK, move |claim| {
        let (db, outbox) = (db.clone(), outbox.clone());
        Box::pin(async move { step(&db, &outbox, &claim).await })
    })
}

async fn step(db: &PgPool, outbox: &Outbox, claim: &Claim) -> Result<Outcome> {
    let id: WebhookId = claim.object_id.into();
    let mut conn = db.acquire().await.map_err(pg::error)?;
    let Some(webhook) = store::find(&mut conn, id).await? else {
        return Ok(Outcome::Done);
    };
    let delivery = match webhook.state {
        WebhookState::Enabled => deliveries::next(&mut conn, id).await?,
        WebhookState::Disabled => None,
        WebhookState::Deleting => {
            drop(conn);
            return forget(db, outbox, claim).await;
        }
    };
    drop(conn);
    let Some(delivery) = delivery else {
        return Ok(Outcome::Done);
    };
    let early = delivery.next_time - now();
    if early > TimeDelta::zero() {
        let early = early.to_std().unwrap_or_default();
        return Ok(Outcome::wait("until the next delivery", early));
    }
    deliver(db, outbox, claim, (webhook, delivery)).await
}

async fn deliver(
    db: &PgPool,
    outbox: &Outbox,
    claim: &Claim,
    (webhook, delivery): (Webhook, Delivery),
) -> Result<Outcome> {
    let key = match outbox.key(webhook.id).await {
        Ok(key) => key,
        Err(error) => return wait(error),
    };
    let answer = outbox.send(&webhook.url, &key, &delivery.event).await?;
    let now = now();
    let jitter = f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0;
    let next = delivery.after(&answer, webhook.success_time, now, jitter);
    let (state, next_time) = match &next {
        Next::Delivered => (DeliveryState::Delivered, now),
        Next::Retry { at } => (DeliveryState::Pending, *at),
        Next::GiveUp { .. } => (DeliveryState::Failed, now),
    };

    let mut txn = db.begin().await.map_err(pg::error)?;
    reconcile::guard(&mut txn, claim).await?;
    let which = (webhook.id, delivery.event.id);
    deliveries::record(&mut txn, which, (state, next_time), &answer, now).await?;
    match next {
        Next::Delivered => {
            store::succeeded(&mut txn, webhook.id, now).await?;
            deliveries::forget(&mut txn, webhook.id, now - KEPT).await?;
        }
        Next::GiveUp {
            disable: Some(reason),
        } => {
            let state = webhook.state.apply(WebhookChange::Disable)?;
            store::set_state(&mut txn, &webhook, state, &reason).await?;
            deliveries::give_up(&mut txn, webhook.id).await?;
        }
        Next::Retry { .. } | Next::GiveUp { disable: None } => {}
    }
    txn.commit().await.map_err(pg::error)?;
    Ok(Outcome::Again)
}

async fn forget(db: &PgPool, outbox: &Outbox, claim: &Claim) -> Result<Outcome> {
    let id: WebhookId = claim.object_id.into();
    if let Err(error) = outbox.forget(id).await {
        return wait(error);
    }
    let mut txn = db.begin().await.map_err(pg::error)?;
    reconcile::guard(&mut txn, claim).await?;
    store::remove(&mut txn, id).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(Outcome::Done)
}

/// Waits until Vault answers and permits.
fn wait(error: Error) -> Result<Outcome> {
    if error.is_transient() {
        tracing::info!(error = report(&error), "a webhook waits for Vault");
        Ok(Outcome::wait("waiting for Vault", DEPENDENCY))
    } else {
        Err(error)
    }
}
