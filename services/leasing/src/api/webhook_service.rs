//! The webhook API: one method an rpc, each a single call.

use super::{Answer, pb, webhooks};
use crate::outbox::Outbox;
use berth_proto::leasing::v1::webhook_service_server::WebhookService;
use berth_runtime::status;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::Request;

/// Most tests of webhooks at once.
const TESTS: usize = 8;

/// Serves the webhook API from a database and an outbox.
#[derive(Debug, Clone)]
pub struct Webhooks {
    pub(super) db: PgPool,
    pub(super) outbox: Outbox,
    pub(super) tests: Arc<Semaphore>,
}

impl Webhooks {
    /// Serves what this database keeps; tests are sent from this outbox.
    #[must_use]
    pub fn new(db: PgPool, outbox: Outbox) -> Self {
        Self {
            db,
            outbox,
            tests: Arc::new(Semaphore::new(TESTS)),
        }
    }
}

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn create_webhook(
        &self,
        request: Request<pb::CreateWebhookRequest>,
    ) -> Answer<pb::CreateWebhookResponse> {
        status::reply(webhooks::create(self, request).await)
    }

    async fn get_webhook(
        &self,
        request: Request<pb::GetWebhookRequest>,
    ) -> Answer<pb::GetWebhookResponse> {
        status::reply(webhooks::get(self, request).await)
    }

    async fn list_webhooks(
        &self,
        request: Request<pb::ListWebhooksRequest>,
    ) -> Answer<pb::ListWebhooksResponse> {
        status::reply(webhooks::list(self, request).await)
    }

    async fn enable_webhook(
        &self,
        request: Request<pb::EnableWebhookRequest>,
    ) -> Answer<pb::EnableWebhookResponse> {
        status::reply(webhooks::enable(self, request).await)
    }

    async fn delete_webhook(
        &self,
        request: Request<pb::DeleteWebhookRequest>,
    ) -> Answer<pb::DeleteWebhookResponse> {
        status::reply(webhooks::delete(self, request).await)
    }

    async fn test_webhook(
        &self,
        request: Request<pb::TestWebhookRequest>,
    ) -> Answer<pb::TestWebhookResponse> {
        status::reply(webhooks::test(self, request).await)
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<pb::ListWebhookDeliveriesRequest>,
    ) -> Answer<pb::ListWebhookDeliveriesResponse> {
        status::reply(webhooks::deliveries(self, request).await)
    }
}
