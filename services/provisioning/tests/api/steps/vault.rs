//! In front of the real OpenBao: what the worker writes there passes as effects.

use crate::effects::Effects;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::http::{Method, StatusCode, request};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The server behind, and who watches.
struct Front {
    effects: Arc<Effects>,
    behind: String,
    client: reqwest::Client,
}

/// Listens in front of a server; the address to ask instead.
pub(super) async fn front(
    tasks: &mut JoinSet<()>,
    effects: Arc<Effects>,
    behind: &str,
    ca_file: &Path,
) -> String {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca_file).unwrap()).unwrap();
    let client = reqwest::Client::builder()
        .tls_backend_rustls()
        .tls_certs_only([ca])
        .no_proxy()
        .build();
    let front = Arc::new(Front {
        effects,
        behind: behind.trim_end_matches('/').to_owned(),
        client: client.unwrap(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let front = Arc::clone(&front);
            let answer = service_fn(move |request| answer(Arc::clone(&front), request));
            let serve = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            open.spawn(serve);
            while open.try_join_next().is_some() {}
        }
    });
    address
}

/// What a request would change, for people; nothing for one that reads or logs in.
fn effect(head: &request::Parts) -> Option<String> {
    let path = head.uri.path().trim_start_matches("/v1/");
    let writes = [Method::POST, Method::PUT, Method::DELETE].contains(&head.method);
    if !writes || path.starts_with("auth/") {
        return None;
    }
    let plain = path.split('/').filter(|part| !part.starts_with("node-0"));
    let plain: Vec<_> = plain.collect();
    Some(format!("vault {} {}", head.method, plain.join("/")))
}

async fn answer(
    front: Arc<Front>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let send = || front.send(&head, body.clone());
    let answered = match effect(&head) {
        Some(what) => {
            let broken = || StatusCode::BAD_GATEWAY;
            front.effects.pass(what, broken, send).await
        }
        None => send().await,
    };
    Ok(answered.unwrap_or_else(|status| {
        let mut refusal = Response::new(Full::default());
        *refusal.status_mut() = status;
        refusal
    }))
}

impl Front {
    async fn send(
        &self,
        head: &request::Parts,
        body: Bytes,
    ) -> Result<Response<Full<Bytes>>, StatusCode> {
        let url = format!("{}{}", self.behind, head.uri);
        let request = self.client.request(head.method.clone(), url);
        let mut headers = head.headers.clone();
        headers.remove(hyper::header::HOST);
        let answer = request.headers(headers).body(body).send().await;
        let answer = answer.map_err(|_| StatusCode::BAD_GATEWAY)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        let mut passed = Response::new(Full::new(body));
        *passed.status_mut() = status;
        Ok(passed)
    }
}
