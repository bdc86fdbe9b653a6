//! The paths, and the one place that knows the codes of HTTP.

use super::answers::{self, Form};
use super::health;
use super::keymanager::Keymanager;
use super::settings::Setting;
use super::{Asker, Duty, Unsigned};
use crate::domain::refusal::Reason;
use crate::keys::Keys;
use crate::store::roster;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use berth_core::{AccountId, Error};
use berth_runtime::auth::ACCOUNT_HEADER;
use berth_runtime::metrics::Metric;
use berth_runtime::{pg, status};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest body of the Keymanager API: an interchange, and keystores.
const LONGEST: usize = 20 << 20;
/// Longest time for one to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the duty listener serves, to placements.
pub fn duty_routes(duty: Arc<Duty>) -> Router {
    Router::new()
        .route("/upcheck", get(upcheck))
        .route("/api/v1/eth2/publicKeys", get(public_keys))
        .route("/api/v1/eth2/sign/{key}", post(sign))
        .with_state(duty)
}

/// What the admin listener serves over plain HTTP, to services. Its `/metrics`
/// are those of the duties and `more`.
pub fn admin_routes(duty: Arc<Duty>, more: Vec<Arc<Metric>>) -> Router {
    let mut shown = vec![Arc::clone(&duty.signatures), Arc::clone(&duty.refusals)];
    shown.extend(more);
    Router::new()
        .route("/metrics", get(move || async move { metrics(&shown) }))
        .route("/healthcheck", get(healthcheck))
        .route("/reload", post(reload))
        .route("/api/v1/eth2/highWatermark", get(high_watermark))
        .with_state(duty)
}

/// The Keymanager API, for the account that the gateway names.
pub fn keymanager_routes(db: PgPool, keys: Keys) -> Router {
    let of = |setting: Setting| {
        get(move |state, owner, path| read(setting, state, owner, path))
            .post(move |state, owner, path, body| write(setting, state, owner, path, body))
            .delete(move |state, owner, path| unset(setting, state, owner, path))
    };
    let settings = "/eth/v1/validator/{key}";
    Router::new()
        .route("/eth/v1/keystores", get(list).post(import).delete(delete))
        .route(
            &format!("{settings}/feerecipient"),
            of(Setting::FeeRecipient),
        )
        .route(&format!("{settings}/gas_limit"), of(Setting::GasLimit))
        .with_state(Keymanager { db, keys })
}

/// The code of a refusal. Clients rely on 404 for a key and 412 for a rule.
const fn code(reason: Reason) -> StatusCode {
    match reason {
        Reason::DoubleProposal
        | Reason::BlockBelowWatermark
        | Reason::DoubleVote
        | Reason::Surround
        | Reason::Surrounded
        | Reason::VoteBelowWatermark
        | Reason::BadVote
        | Reason::Fenced
        | Reason::NotGranted
        | Reason::Quarantined
        | Reason::Disabled
        | Reason::FarFuture
        | Reason::FarPast
        | Reason::TypeNotPermitted
        | Reason::FeeRecipient
        | Reason::GasLimit => StatusCode::PRECONDITION_FAILED,
        Reason::UnknownKey => StatusCode::NOT_FOUND,
        Reason::WrongNetwork
        | Reason::WrongFork
        | Reason::WrongPreset
        | Reason::WrongSigningRoot
        | Reason::Malformed
        | Reason::WrongPublicKey
        | Reason::UnknownType => StatusCode::BAD_REQUEST,
        Reason::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::KeyNotLoaded | Reason::ClockSkew | Reason::NotAnchored => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

async fn upcheck(request: Request) -> Response<Body> {
    Form::wanted(request.headers()).up()
}

async fn public_keys(State(duty): State<Arc<Duty>>, request: Request) -> Response<Body> {
    match Asker::of(request.extensions()) {
        Ok(asker) => answers::public_keys(&duty.roster.of_node(asker.node_id)),
        Err(error) => status::plain(&error).map(Body::from),
    }
}

async fn sign(
    State(duty): State<Arc<Duty>>,
    Path(key): Path<String>,
    request: Request,
) -> Response<Body> {
    let form = Form::wanted(request.headers());
    let asker = match Asker::of(request.extensions()) {
        Ok(asker) => asker,
        Err(error) => return status::plain(&error).map(Body::from),
    };
    match duty.sign(&asker, &key, request).await {
        Ok(signature) => form.signature(&signature),
        Err(unsigned) => {
            let code = match &unsigned {
                Unsigned::Refused(refusal) => code(refusal.reason),
                Unsigned::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            let (reason, message) = unsigned.parts();
            form.refusal(code, reason, &message)
        }
    }
}

fn metrics(shown: &[Arc<Metric>]) -> Response<Body> {
    let text = shown.iter().map(|metric| metric.prometheus()).collect();
    let mut answer = answers::text(StatusCode::OK, text);
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, version);
    answer
}

async fn healthcheck(State(duty): State<Arc<Duty>>) -> Response<Body> {
    let health = health::look(&duty).await;
    let code = if health.up {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answers::json(code, &health.report)
}

async fn reload(State(duty): State<Arc<Duty>>) -> Response<Body> {
    duty.roster.reload();
    answers::empty(StatusCode::ACCEPTED)
}

async fn high_watermark(State(duty): State<Arc<Duty>>) -> Response<Body> {
    match highest(&duty).await {
        Ok((slot, epoch)) => {
            let mut highest = serde_json::Map::new();
            for (name, number) in [("slot", slot), ("epoch", epoch)] {
                if let Some(number) = number {
                    highest.insert(name.to_owned(), json!(number.to_string()));
                }
            }
            answers::json(StatusCode::OK, &highest)
        }
        Err(error) => status::plain(&error).map(Body::from),
    }
}

async fn highest(duty: &Duty) -> berth_core::Result<(Option<i64>, Option<i64>)> {
    let mut conn = duty.db.acquire().await.map_err(pg::error)?;
    roster::high_watermark(&mut conn).await
}

/// The account that a request is made for.
struct Owner(AccountId);

impl<S: Sync> FromRequestParts<S> for Owner {
    type Rejection = Response<Body>;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Response<Body>> {
        let account = head.extensions.get::<AccountId>();
        account.copied().map(Self).ok_or_else(|| {
            failed(&Error::Unauthenticated {
                reason: "NOT_SIGNED_IN",
                message: format!("name the account in `{ACCOUNT_HEADER}`"),
            })
        })
    }
}

/// A body of the Keymanager API.
struct Whole(Bytes);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response<Body>> {
        let body = timeout(PATIENCE, to_bytes(request.into_body(), LONGEST)).await;
        body.ok().and_then(Result::ok).map(Self).ok_or_else(|| {
            let problem = format!("must have {LONGEST} bytes at most, and come within a minute");
            failed(&Error::invalid("body", problem))
        })
    }
}

async fn list(State(keymanager): State<Keymanager>, Owner(account): Owner) -> Response<Body> {
    told(keymanager.list(account).await)
}

async fn import(
    State(keymanager): State<Keymanager>,
    Owner(account): Owner,
    Whole(body): Whole,
) -> Response<Body> {
    told(keymanager.import(account, &body).await)
}

async fn delete(
    State(keymanager): State<Keymanager>,
    Owner(account): Owner,
    Whole(body): Whole,
) -> Response<Body> {
    told(keymanager.delete(account, &body).await)
}

async fn read(
    setting: Setting,
    State(keymanager): State<Keymanager>,
    Owner(account): Owner,
    Path(key): Path<String>,
) -> Response<Body> {
    told(keymanager.read(account, &key, setting).await)
}

async fn write(
    setting: Setting,
    State(keymanager): State<Keymanager>,
    Owner(account): Owner,
    Path(key): Path<String>,
    Whole(body): Whole,
) -> Response<Body> {
    let written = keymanager.write(account, &key, setting, Some(&body));
    done(StatusCode::ACCEPTED, written.await)
}

async fn unset(
    setting: Setting,
    State(keymanager): State<Keymanager>,
    Owner(account): Owner,
    Path(key): Path<String>,
) -> Response<Body> {
    let unset = keymanager.write(account, &key, setting, None);
    done(StatusCode::NO_CONTENT, unset.await)
}

fn told(outcome: berth_core::Result<Value>) -> Response<Body> {
    match outcome {
        Ok(value) => answers::json(StatusCode::OK, &value),
        Err(error) => failed(&error),
    }
}

fn done(code: StatusCode, outcome: berth_core::Result<()>) -> Response<Body> {
    match outcome {
        Ok(()) => answers::empty(code),
        Err(error) => failed(&error),
    }
}

/// An error in the form of the Keymanager API.
fn failed(error: &Error) -> Response<Body> {
    let code = status::plain(error).status();
    answers::json(code, &json!({ "message": error.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_with_its_code_in_the_page_of_errors() {
        let page = include_str!("../../../../docs/errors.md");
        for reason in Reason::ALL {
            let row = format!("| {} | {} |", code(*reason).as_u16(), reason.name());
            assert!(page.contains(&row), "docs/errors.md has no row `{row}`");
        }
    }
}
