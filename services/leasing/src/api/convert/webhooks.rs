//! Webhooks, what is sent to them, and events.

use super::super::pb;
use crate::domain::{
    AccountEvent, Answer, Delivery, DeliveryState, NewWebhook, Object, Webhook, WebhookState,
};
use berth_core::{AccountId, Result, Violations};
use berth_runtime::wire;

/// Most topics that a request may name.
const TOPICS: usize = 32;

/// What a request to create asks for; its URL is looked at by the outbox.
pub(in super::super) fn new_webhook(
    account_id: AccountId,
    spec: Option<&pb::WebhookSpec>,
) -> Result<NewWebhook> {
    let mut violations = Violations::default();
    let Some(spec) = spec else {
        violations.add("spec", "is required");
        return violations.finish(None);
    };
    if spec.url.is_empty() {
        violations.add("spec.url", "is required");
    }
    let mut topics = Vec::new();
    if spec.topics.len() > TOPICS {
        violations.add("spec.topics", format!("must be at most {TOPICS}"));
    }
    for (at, text) in spec.topics.iter().take(TOPICS).enumerate() {
        let topic = violations.absorb(wire::parse(&format!("spec.topics[{at}]"), text))?;
        topics.extend(topic.filter(|topic| !topics.contains(topic)));
    }
    violations.finish(Some(NewWebhook {
        account_id,
        url: spec.url.clone(),
        topics,
    }))
}

/// A webhook, for the wire.
pub(in super::super) fn webhook(webhook: Webhook) -> pb::Webhook {
    use pb::webhook_status::State;
    let state = match webhook.state {
        WebhookState::Enabled => State::Enabled,
        WebhookState::Disabled => State::Disabled,
        // Never read by the API.
        WebhookState::Deleting => State::Unspecified,
    };
    pb::Webhook {
        id: webhook.id.to_string(),
        etag: wire::etag(webhook.version),
        create_time: Some(wire::timestamp(webhook.create_time)),
        spec: Some(pb::WebhookSpec {
            url: webhook.url,
            topics: webhook.topics.iter().map(ToString::to_string).collect(),
        }),
        status: Some(pb::WebhookStatus {
            state: state.into(),
            status_reason: webhook.status_reason,
            success_time: webhook.success_time.map(wire::timestamp),
        }),
    }
}

/// A delivery, for the wire.
pub(in super::super) fn delivery(delivery: Delivery) -> pb::WebhookDelivery {
    use pb::webhook_delivery::State;
    let pending = delivery.state == DeliveryState::Pending;
    let state = match delivery.state {
        DeliveryState::Pending => State::Pending,
        DeliveryState::Delivered => State::Delivered,
        DeliveryState::Failed => State::Failed,
    };
    pb::WebhookDelivery {
        event: Some(event(delivery.event)),
        state: state.into(),
        attempts: delivery.attempts,
        answer: delivery.answer.map(answer),
        attempt_time: delivery.attempt_time.map(wire::timestamp),
        next_time: pending.then(|| wire::timestamp(delivery.next_time)),
    }
}

/// What a receiver answered, for the wire.
pub(in super::super) fn answer(answer: Answer) -> pb::WebhookAnswer {
    pb::WebhookAnswer {
        http_status: answer.http_status.map_or(0, i32::from),
        latency: Some(wire::duration(answer.latency)),
        problem: answer.problem,
    }
}

/// An event, for the wire.
pub(in super::super) fn event(event: AccountEvent) -> pb::AccountEvent {
    let (lease_id, currency) = match event.object {
        Some(Object::Lease(lease)) => (lease.to_string(), String::new()),
        Some(Object::Balance(currency)) => (String::new(), currency.to_string()),
        None => (String::new(), String::new()),
    };
    pb::AccountEvent {
        id: event.id.to_string(),
        create_time: Some(wire::timestamp(event.create_time)),
        topic: event
            .topic
            .map(|topic| topic.to_string())
            .unwrap_or_default(),
        lease_id,
        currency,
        stop_time: event.stop_time.map(wire::timestamp),
        message: event.message,
    }
}
