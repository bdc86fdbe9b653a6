//! What a receiver gets: a JSON body and the headers of Standard Webhooks,
//! <https://www.standardwebhooks.com>.

use crate::domain::{AccountEvent, Object};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_core::{Error, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

/// What the text of a key begins with.
pub(super) const PREFIX: &str = "whsec_";
/// Topic of an event that a test of a webhook sends.
const TEST: &str = "webhook.test";

/// One call to a receiver.
pub(super) struct Letter {
    pub(super) headers: [(&'static str, String); 4],
    pub(super) body: String,
}

impl Letter {
    /// An event, signed at a time.
    ///
    /// # Errors
    ///
    /// When the key is no key of ours.
    pub(super) fn new(
        event: &AccountEvent,
        key: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let key = key
            .expose_secret()
            .strip_prefix(PREFIX)
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| Error::internal("a webhook's key is not one of ours"))?;
        let (id, time) = (event.id.to_string(), now.timestamp().to_string());
        let body = body(event).to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signature = hmac::sign(&key, format!("{id}.{time}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(signature));
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", time),
            ("webhook-signature", signature),
        ];
        Ok(Self { headers, body })
    }
}

/// The same in each delivery of the event.
fn body(event: &AccountEvent) -> Value {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({
        "id": event.id.to_string(),
        "type": event.topic.map_or(TEST, |topic| topic.as_str()),
        "time": time(event.create_time),
        "account": event.account_id.to_string(),
        "object": event.object.map(|object| match object {
            Object::Lease(lease) => json!({ "kind": "lease", "id": lease.to_string() }),
            Object::Balance(currency) => json!({ "kind": "balance", "id": currency.as_str() }),
        }),
        "stop_time": event.stop_time.map(time),
        "message": event.message,
    })
}
