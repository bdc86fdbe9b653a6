//! Webhook calls: read the request, decide, store, answer.

use super::{Webhooks, convert, pb};
use crate::domain::{AccountEvent, Webhook, WebhookChange};
use crate::life::WEBHOOK;
use crate::store::{deliveries, webhooks as store};
use berth_core::{AccountId, Error, EventId, Resource, Result, WebhookId, now};
use berth_runtime::once::{once, repeats};
use berth_runtime::page::Page;
use berth_runtime::{auth, pg, reconcile, wire};
use secrecy::ExposeSecret as _;
use sqlx::PgConnection;
use tonic::Request;
use uuid::Uuid;

pub(super) async fn create(
    api: &Webhooks,
    request: Request<pb::CreateWebhookRequest>,
) -> Result<pb::CreateWebhookResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let mut new = convert::new_webhook(account, request.spec.as_ref())?;
    if !repeats(&api.db, account, &request.request_id, &request).await? {
        let url = api.outbox.check(&new.url).await;
        new.url = url
            .map_err(|problem| Error::invalid("spec.url", problem))?
            .into();
    }
    let id: WebhookId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| store::insert(txn, &new, now()).await,
    )
    .await?;
    let webhook = read(api, account, id).await?;
    // The same at a repeat: the key is made once.
    let secret = api.outbox.key(id).await?.expose_secret().to_owned();
    Ok(pb::CreateWebhookResponse {
        webhook: Some(convert::webhook(webhook)),
        secret,
    })
}

pub(super) async fn get(
    api: &Webhooks,
    request: Request<pb::GetWebhookRequest>,
) -> Result<pb::GetWebhookResponse> {
    let account = auth::account(&request)?;
    let id = wire::parse("webhook_id", &request.get_ref().webhook_id)?;
    let webhook = read(api, account, id).await?;
    Ok(pb::GetWebhookResponse {
        webhook: Some(convert::webhook(webhook)),
    })
}

pub(super) async fn list(
    api: &Webhooks,
    request: Request<pb::ListWebhooksRequest>,
) -> Result<pb::ListWebhooksResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let rows = store::list(&mut conn, account, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.id.uuid().to_string());
    Ok(pb::ListWebhooksResponse {
        webhooks: rows.into_iter().map(convert::webhook).collect(),
        next_page_token,
    })
}

pub(super) async fn enable(
    api: &Webhooks,
    request: Request<pb::EnableWebhookRequest>,
) -> Result<pb::EnableWebhookResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: WebhookId = wire::parse("webhook_id", &request.webhook_id)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let before = store::get(txn, account, id).await?;
            change(txn, &before, &request.etag, WebhookChange::Enable).await?;
            Ok(id)
        },
    )
    .await?;
    let webhook = read(api, account, id).await?;
    Ok(pb::EnableWebhookResponse {
        webhook: Some(convert::webhook(webhook)),
    })
}

pub(super) async fn delete(
    api: &Webhooks,
    request: Request<pb::DeleteWebhookRequest>,
) -> Result<pb::DeleteWebhookResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: WebhookId = wire::parse("webhook_id", &request.webhook_id)?;
    let _: WebhookId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let before = store::get(txn, account, id).await?;
            change(txn, &before, &request.etag, WebhookChange::Delete).await?;
            // Vault has its key still.
            reconcile::wake(txn, WEBHOOK, id.uuid()).await?;
            Ok(id)
        },
    )
    .await?;
    Ok(pb::DeleteWebhookResponse {})
}

pub(super) async fn test(
    api: &Webhooks,
    request: Request<pb::TestWebhookRequest>,
) -> Result<pb::TestWebhookResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id = wire::parse("webhook_id", &request.webhook_id)?;
    let event: Uuid = wire::parse("request_id", &request.request_id)?;
    let webhook = read(api, account, id).await?;
    let Ok(_turn) = api.tests.try_acquire() else {
        return Err(Error::exhausted(
            "TESTS_BUSY",
            "too many webhooks are being tested; try again in some seconds",
        ));
    };
    let key = api.outbox.key(id).await?;
    let event = AccountEvent {
        id: EventId::from(event),
        account_id: account,
        topic: None,
        object: None,
        stop_time: None,
        message: format!("a test of {id}"),
        create_time: now(),
    };
    let answer = api.outbox.send(&webhook.url, &key, &event).await?;
    Ok(pb::TestWebhookResponse {
        answer: Some(convert::answer(answer)),
    })
}

pub(super) async fn deliveries(
    api: &Webhooks,
    request: Request<pb::ListWebhookDeliveriesRequest>,
) -> Result<pb::ListWebhookDeliveriesResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: WebhookId = wire::parse("webhook_id", &request.webhook_id)?;
    let page = Page::parse(request.page_size, &request.page_token)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    store::get(&mut conn, account, id).await?;
    let rows = deliveries::list(&mut conn, id, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.event.id.uuid().to_string());
    Ok(pb::ListWebhookDeliveriesResponse {
        deliveries: rows.into_iter().map(convert::delivery).collect(),
        next_page_token,
    })
}

async fn change(
    txn: &mut PgConnection,
    before: &Webhook,
    etag: &str,
    change: WebhookChange,
) -> Result<()> {
    wire::check_etag(Resource::Webhook, "etag", etag, before.version)?;
    let after = before.state.apply(change)?;
    if after == before.state {
        return Ok(());
    }
    store::set_state(txn, before, after, "").await
}

async fn read(api: &Webhooks, account: AccountId, id: WebhookId) -> Result<Webhook> {
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    store::get(&mut conn, account, id).await
}
