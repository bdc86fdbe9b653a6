//! A leasing service with webhooks: a house, an OpenBao, an outbox.

use crate::fixture::{House, PRICE, id};
use crate::receiver::{Call, Receiver};
use crate::vault::Server;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_leasing::api::Webhooks;
use berth_leasing::{Outbox, WebhookConfig, reconcile};
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::webhook_service_server::WebhookService as _;
use berth_runtime::reconcile::Reconciler;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tonic::{Request, Status};

/// Webhooks that may lead to loopback, over a house with an unpaid lease.
pub(crate) struct Hooks {
    pub(crate) house: House,
    pub(crate) api: Webhooks,
    pub(crate) reconciler: Reconciler,
    pub(crate) server: Server,
}

/// Lets webhooks lead to this box.
pub(crate) fn loopback() -> WebhookConfig {
    WebhookConfig {
        private_networks: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
        ca_file: String::new(),
    }
}

impl Hooks {
    pub(crate) async fn new(db: PgPool) -> Self {
        Self::with(db, &loopback()).await
    }

    pub(crate) async fn with(db: PgPool, config: &WebhookConfig) -> Self {
        let house = House::new(db.clone(), 1, PRICE * 3 / 2).await;
        let server = Server::start().await;
        let outbox = Outbox::new(server.leasing.clone(), config).unwrap();
        Self {
            house,
            api: Webhooks::new(db.clone(), outbox.clone()),
            reconciler: reconcile::webhooks(db, outbox),
            server,
        }
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.house.request(message)
    }

    /// A webhook, and the key of its signatures.
    pub(crate) async fn create(
        &self,
        url: &str,
        topics: &[&str],
    ) -> Result<(pb::Webhook, String), Status> {
        let message = pb::CreateWebhookRequest {
            request_id: id(),
            spec: Some(pb::WebhookSpec {
                url: url.to_owned(),
                topics: topics.iter().map(ToString::to_string).collect(),
            }),
        };
        let answer = self.api.create_webhook(self.request(message)).await?;
        let answer = answer.into_inner();
        Ok((answer.webhook.unwrap(), answer.secret))
    }

    pub(crate) async fn get(&self, webhook: &str) -> Result<pb::Webhook, Status> {
        let message = pb::GetWebhookRequest {
            webhook_id: webhook.to_owned(),
        };
        let answer = self.api.get_webhook(self.request(message)).await?;
        Ok(answer.into_inner().webhook.unwrap())
    }

    /// Deliveries of a webhook, oldest first.
    pub(crate) async fn deliveries(&self, webhook: &str) -> Vec<pb::WebhookDelivery> {
        let message = pb::ListWebhookDeliveriesRequest {
            webhook_id: webhook.to_owned(),
            ..Default::default()
        };
        let request = self.request(message);
        let answer = self.api.list_webhook_deliveries(request).await.unwrap();
        let mut deliveries = answer.into_inner().deliveries;
        deliveries.reverse();
        deliveries
    }

    /// Has the account told something: that its balance is low.
    pub(crate) async fn happen(&self) {
        self.house.lease_of(86_400).await;
        self.house.turn().await;
        assert_eq!(self.house.topics().await, ["balance.low"]);
    }

    /// Does what there is to do, as if nothing had to be waited for.
    pub(crate) async fn turn(&self) {
        self.due().await;
        self.reconciler.turn().await.unwrap();
    }

    /// Makes everything due.
    pub(crate) async fn due(&self) {
        for now in [
            "update work set not_before = now()",
            "update delivery set next_time = now() where state = 'pending'",
        ] {
            sqlx::query(now).execute(&self.house.db).await.unwrap();
        }
    }
}

/// HMAC-SHA256 as RFC 2104 writes it down.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|own| own ^ byte);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner);
    outer.finalize().to_vec()
}

/// Sees that a call was signed with a key; answers with its body.
pub(crate) fn verified(call: &Call, secret: &str) -> serde_json::Value {
    let header = |name: &str| call.headers[name].as_str();
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let signed = format!("{id}.{time}.{}", call.body);
    let wanted = format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes())));
    assert_eq!(header("webhook-signature"), wanted);
    let age = berth_core::now().timestamp() - time.parse::<i64>().unwrap();
    assert!((-1..120).contains(&age), "signed {age} s ago");
    assert_eq!(header("content-type"), "application/json");
    let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["id"], id);
    body
}

/// The ids of the events that a receiver got.
pub(crate) fn ids(receiver: &Receiver) -> Vec<String> {
    let calls = receiver.calls();
    let id = |call: &Call| call.headers["webhook-id"].clone();
    calls.iter().map(id).collect()
}
