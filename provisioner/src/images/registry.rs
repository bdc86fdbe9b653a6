//! A read-only image registry on one channel of a session.
//!
//! Serves the manifests and blobs of one offer by digest, and nothing else: no
//! tags, no catalogue, no writing. There is no listener: the other end of the
//! channel is a port of the machine's own loopback.

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::ReaderStream;

/// Longest wait for a request.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes that are read from a blob at once.
const CHUNK: usize = 128 << 10;

/// What may be fetched: the parts of one image.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// Media type and text by digest.
    pub(crate) manifests: HashMap<String, (String, Bytes)>,
    /// Configurations and layers by digest.
    pub(crate) blobs: HashMap<String, Blob>,
}

/// A file that is served.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

type Body = BoxBody<Bytes, io::Error>;

/// Serves an offer until the other end has enough.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    offer: Arc<Offer>,
) {
    let service = service_fn(move |request| {
        let offer = Arc::clone(&offer);
        async move { Ok::<_, Infallible>(answer(&offer, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // Docker first tries TLS, and hangs up when it has what it wants.
        tracing::debug!(%error, "a registry channel ended");
    }
}

async fn answer(offer: &Offer, request: &Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return empty(StatusCode::NOT_FOUND);
    }
    let head = request.method() == Method::HEAD;
    let path = request.uri().path();
    if path == "/v2/" {
        return response("application/json", 2, full(Bytes::from_static(b"{}")));
    }
    let mut parts = path.rsplitn(3, '/');
    let (digest, kind) = (parts.next().unwrap_or_default(), parts.next());
    match kind {
        Some("manifests") => match offer.manifests.get(digest) {
            Some((kind, text)) => {
                let body = if head { Bytes::new() } else { text.clone() };
                let mut answer = response(kind, text.len() as u64, full(body));
                if let Ok(digest) = digest.parse() {
                    answer.headers_mut().insert("docker-content-digest", digest);
                }
                answer
            }
            None => empty(StatusCode::NOT_FOUND),
        },
        Some("blobs") => match offer.blobs.get(digest) {
            Some(blob) if head => response(OCTETS, blob.size, full(Bytes::new())),
            Some(blob) => match File::open(&blob.path).await {
                Ok(file) => response(OCTETS, blob.size, stream(file)),
                Err(error) => {
                    tracing::warn!(%error, digest, "a blob cannot be read");
                    empty(StatusCode::NOT_FOUND)
                }
            },
            None => empty(StatusCode::NOT_FOUND),
        },
        _ => empty(StatusCode::NOT_FOUND),
    }
}

const OCTETS: &str = "application/octet-stream";

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn stream(file: File) -> Body {
    let chunks = ReaderStream::with_capacity(file, CHUNK);
    StreamBody::new(chunks.map_ok(Frame::data)).boxed()
}

fn response(kind: &str, length: u64, body: Body) -> Response<Body> {
    Response::builder()
        .header(CONTENT_TYPE, kind)
        .header(CONTENT_LENGTH, length)
        .header("docker-distribution-api-version", "registry/2.0")
        .body(body)
        .unwrap_or_else(|_| empty(StatusCode::NOT_FOUND))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}
