//! One bounded HTTP/1.1 exchange with a server that is not trusted.
//!
//! Deliberately absent: redirects, proxies, compression, cookies, kept connections
//! and TLS. A probe asks a container on its own bridge, and nobody else. The caller
//! bounds the time.

use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ProbeError;

/// Longest head of an answer, and most that is read ahead.
const MAX_HEAD: usize = 64 * 1024;

/// Asks, and returns the body of a successful answer: `GET`, or `POST` of JSON.
///
/// # Errors
/// When it cannot connect, the answer is no success, is no HTTP, or its body is
/// longer than `max` bytes.
pub async fn fetch(url: &Uri, json: Option<Bytes>, max: usize) -> Result<Bytes, ProbeError> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = (host, url.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address)
        .await
        .map_err(ProbeError::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    let request = request(url, json)?;
    let exchange = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(ProbeError::Status(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), max).collect().await;
        Ok(body.map_err(|_| ProbeError::Body(max))?.to_bytes())
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let mut open = true;
    loop {
        tokio::select! {
            result = &mut exchange => return result,
            // Its end is no failure: the rest of the answer may be read already.
            _ = &mut connection, if open => open = false,
        }
    }
}

fn request(url: &Uri, json: Option<Bytes>) -> Result<Request<Full<Bytes>>, ProbeError> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let method = if json.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, authority)
        .header(
            header::USER_AGENT,
            concat!("berth-agent/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "application/json, text/plain, */*")
        .header(header::CONNECTION, "close");
    if json.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request
        .body(Full::new(json.unwrap_or_default()))
        .map_err(|error| ProbeError::Malformed(error.to_string()))
}
