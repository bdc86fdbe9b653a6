//! Sending events to webhooks: the key of the signatures from Vault, the body,
//! the signature, the call.
//!
//! What is told to whom and when again is decided in `domain`.

mod guard;
mod letter;

pub use guard::Guard;

use crate::config::WebhookConfig;
use crate::domain::{AccountEvent, Answer};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_core::{Error, Result, WebhookId, now, report};
use berth_secrets::{SecretMap, SecretPath, Vault};
use chrono::TimeDelta;
use guard::Refused;
use reqwest::{Response, StatusCode, Url, redirect};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longest wait for a receiver, its name and its TLS included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most header lines of an answer; its body is never read.
const HEADERS: usize = 64;
/// The field of a webhook's secret in Vault.
const FIELD: &str = "key";
/// Bytes of a key.
const KEY: usize = 32;

/// Sends events to webhooks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    vault: Vault,
    guard: Guard,
    secure: reqwest::Client,
    plain: reqwest::Client,
}

impl Outbox {
    /// Prepares to send; keys come from this Vault.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be used.
    pub fn new(vault: Vault, config: &WebhookConfig) -> Result<Self> {
        let guard = Guard::new(config.private_networks()?);
        let client = |guard: Guard| {
            reqwest::Client::builder()
                .tls_backend_rustls()
                .user_agent("berth-webhooks")
                .redirect(redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .http1_only()
                .http1_max_headers(HEADERS)
                // Each call resolves anew, and what it resolves is checked.
                .pool_max_idle_per_host(0)
                .dns_resolver(Arc::new(guard))
        };
        let mut secure = client(guard.clone());
        if let Some(pem) = config.authority()? {
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(Error::internal)?;
            secure = secure.tls_certs_merge(certificates);
        }
        let plain = client(guard.of_private_only()).tls_certs_only([]);
        Ok(Self {
            vault,
            guard,
            secure: secure.build().map_err(Error::internal)?,
            plain: plain.build().map_err(Error::internal)?,
        })
    }

    /// Reads an URL, and sees that its host has addresses that may be sent to.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub async fn check(&self, url: &str) -> std::result::Result<Url, String> {
        let url = self.guard.url(url)?;
        let found = timeout(PATIENCE, self.guard.look_up(&url)).await;
        let found = found.map_err(|_| "its name did not resolve in 5 seconds".to_owned())?;
        found.map_err(|refused| refused.to_string())?;
        Ok(url)
    }

    /// The key of a webhook's signatures as its account gets it; made if there
    /// is none yet.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] while Vault does not answer or permit it.
    pub async fn key(&self, webhook: WebhookId) -> Result<SecretString> {
        let path = path(webhook)?;
        let found = self.vault.read_secret(&path).await.map_err(vault)?;
        let mut secret = match found {
            Some(secret) => secret,
            None => {
                let mut key = [0; KEY];
                rand::fill(&mut key).map_err(Error::internal)?;
                let text = format!("{}{}", letter::PREFIX, STANDARD.encode(key));
                let secret = SecretMap::from([(FIELD.to_owned(), SecretString::from(text))]);
                let stored = self.vault.create_secret(&path, &secret).await;
                stored.map_err(vault)?
            }
        };
        secret
            .remove(FIELD)
            .ok_or_else(|| Error::internal("a webhook's secret without its key"))
    }

    /// Has Vault forget the key of a webhook.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] while Vault does not answer or permit it.
    pub async fn forget(&self, webhook: WebhookId) -> Result<()> {
        self.vault
            .delete_secret(&path(webhook)?)
            .await
            .map_err(vault)
    }

    /// Sends an event once, signed; always comes back within seconds.
    ///
    /// # Errors
    ///
    /// When the key is no key of ours; what the receiver does is an answer.
    pub async fn send(
        &self,
        url: &str,
        key: &SecretString,
        event: &AccountEvent,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let answered = match self.guard.url(url) {
            Err(problem) => Err(problem),
            Ok(url) => {
                let letter = letter::Letter::new(event, key, now())?;
                match timeout(PATIENCE, self.call(url, letter)).await {
                    Ok(answered) => answered,
                    Err(_) => Err(
                        "no answer in 5 seconds: answer first, and do the work afterwards"
                            .to_owned(),
                    ),
                }
            }
        };
        let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let (http_status, problem) = match answered {
            Ok(status) => (Some(status.as_u16()), advice(status)),
            Err(problem) => (None, problem),
        };
        Ok(Answer {
            http_status,
            latency: TimeDelta::milliseconds(millis),
            problem,
        })
    }

    /// Posts a letter; its answer's body is dropped unread.
    async fn call(
        &self,
        url: Url,
        letter: letter::Letter,
    ) -> std::result::Result<StatusCode, String> {
        // A host that is an address is not resolved.
        self.guard
            .literal(&url)
            .map_err(|refused| refused.to_string())?;
        let http = if url.scheme() == "https" {
            &self.secure
        } else {
            &self.plain
        };
        let mut request = http.post(url).body(letter.body);
        for (name, value) in letter.headers {
            request = request.header(name, value);
        }
        let answer: reqwest::Result<Response> = request.send().await;
        answer.map(|answer| answer.status()).map_err(|error| {
            let error = error.without_url();
            guard::refusal(&error).map_or_else(
                || format!("the call failed: {}", report(&error)),
                Refused::to_string,
            )
        })
    }
}

/// What an account is to do about a status; nothing if the event was taken.
fn advice(status: StatusCode) -> String {
    let what = match status.as_u16() {
        200..300 => return String::new(),
        300..400 => "and redirects are not followed: set the URL that it leads to",
        401 | 403 => "let calls without credentials in, and check the signature instead",
        404 | 405 => "nothing takes a POST at this path: correct the URL",
        410 => "nothing is sent there any more: enable the webhook when it is back",
        413 | 415 => "take JSON of up to 16 KiB there",
        429 => "take more calls, or choose fewer topics",
        400..500 => "see the receiver's log: it did not like the call",
        _ => "see the receiver's log: it failed",
    };
    format!("it answered {}: {what}", status.as_u16())
}

fn path(webhook: WebhookId) -> Result<SecretPath> {
    SecretPath::webhook(&webhook.to_string()).map_err(Error::internal)
}

fn vault(error: berth_secrets::Error) -> Error {
    if error.is_transient() {
        Error::unavailable(error)
    } else {
        Error::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_success_comes_with_advice() {
        for status in 200..600 {
            let advice = advice(StatusCode::from_u16(status).unwrap());
            assert_eq!(advice.is_empty(), status < 300, "{status}: {advice}");
        }
    }
}
