//! Passing calls on: by the package in the path, with the account that the
//! token stands for.

use crate::audit::{self, Entry};
use crate::token::{Caller, Tokens};
use axum::response::IntoResponse as _;
use berth_core::{Error, Result, report};
use berth_runtime::auth::ACCOUNT_HEADER;
use berth_runtime::platform::Platform;
use berth_runtime::schema::{ACCESS, Access};
use berth_runtime::{status, telemetry};
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use sqlx::PgPool;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Service, ServiceExt as _};
use uuid::Uuid;

/// Passes calls on to the services.
#[derive(Debug, Clone)]
pub struct Proxy {
    inventory: Channel,
    leasing: Channel,
    monitoring: Channel,
    provisioning: Channel,
    signer: Channel,
    tokens: Tokens,
    db: PgPool,
}

impl Proxy {
    /// A proxy to the services of a platform.
    #[must_use]
    pub fn new(platform: &Platform, tokens: Tokens, db: PgPool) -> Self {
        Self {
            inventory: platform.inventory(),
            leasing: platform.leasing(),
            monitoring: platform.monitoring(),
            provisioning: platform.provisioning(),
            signer: platform.signer(),
            tokens,
            db,
        }
    }

    async fn forward(self, request: Request<axum::body::Body>) -> Response<Body> {
        match self.admit_and_call(request).await {
            Ok(response) => response,
            Err(error) => status::from_error(&error).into_http(),
        }
    }

    async fn admit_and_call(&self, request: Request<axum::body::Body>) -> Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let caller = self.tokens.authenticate(request.headers())?;
        let (channel, access) = self.route(&path)?;
        if !access.mutates {
            return call(channel, access, prepare(request, &caller)?).await;
        }
        let entry = Entry {
            id: Uuid::now_v7(),
            account_id: caller.account_id,
            token_id: caller.token_id.clone(),
            method: path,
            peer: peer(&request),
        };
        audit::begin(&self.db, &entry).await?;
        let answer = call(channel, access, prepare(request, &caller)?).await;
        let code = match &answer {
            Ok(response) => grpc_code(response),
            Err(error) => i32::from(status::classify(error).0),
        };
        audit::finish(&self.db, entry.id, code).await;
        answer
    }

    fn route(&self, path: &str) -> Result<(Channel, &'static Access)> {
        let channel = match path.split('.').nth(1) {
            Some("inventory") => &self.inventory,
            Some("leasing") => &self.leasing,
            Some("monitoring") => &self.monitoring,
            Some("provisioning") => &self.provisioning,
            Some("signing") => &self.signer,
            _ => return Err(unknown(path)),
        };
        let access = ACCESS
            .get(path)
            .filter(|access| access.callers.iter().any(|caller| caller == "gateway"))
            .ok_or_else(|| unknown(path))?;
        Ok((channel.clone(), access))
    }
}

/// Not told apart from methods that only services may call.
fn unknown(path: &str) -> Error {
    Error::Forbidden {
        reason: "METHOD_UNKNOWN",
        message: format!("there is no method {path} here"),
    }
}

fn prepare(request: Request<axum::body::Body>, caller: &Caller) -> Result<Request<Body>> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(AUTHORIZATION);
    let account = HeaderValue::from_str(&caller.account_id.to_string()).map_err(Error::internal)?;
    parts.headers.insert(ACCOUNT_HEADER, account);
    let mut metadata = MetadataMap::from_headers(parts.headers);
    telemetry::inject(&mut metadata);
    parts.headers = metadata.into_headers();
    parts.extensions.clear();
    Ok(Request::from_parts(parts, Body::new(body)))
}

/// Waits as long as the method says for the head of an answer. A stream may go on
/// after it for ever.
async fn call(channel: Channel, access: &Access, request: Request<Body>) -> Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let within = access.answer_within;
    let answer = tokio::time::timeout(within, channel.oneshot(request)).await;
    answer
        .map_err(|_| Error::unavailable(format!("{path}: no answer in {} s", within.as_secs())))?
        .map_err(|error| Error::unavailable(format!("{path}: {}", report(&error))))
}

/// An error stands in the head of the answer; without one the call went well
/// as far as its head.
fn grpc_code(response: &Response<Body>) -> i32 {
    response
        .headers()
        .get("grpc-status")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

fn peer<B>(request: &Request<B>) -> String {
    request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .and_then(|info| info.get_ref().remote_addr())
        .map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

impl Service<Request<axum::body::Body>> for Proxy {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<axum::body::Body>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move {
            Ok(proxy
                .forward(request)
                .await
                .map(axum::body::Body::new)
                .into_response())
        })
    }
}
