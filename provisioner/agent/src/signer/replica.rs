//! One replica of the signer: a connection that is kept, HTTP/2 over mutual TLS
//! with the newest certificate.
//!
//! A connection is made by whoever asks first, within the time of that request, so
//! that nothing goes on hidden behind it. One that is replaced ends by itself once
//! the requests on it are answered.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::rt::Executor as _;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::identity::Identity;
use crate::peer::{ConnectError, Peer};

/// Longest answer that is read: public keys of as many validators as a node has,
/// and much room.
const MAX_ANSWER: usize = 512 * 1024;
/// How often a silent connection is tried, and how long for.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// A request as it goes on.
#[derive(Debug)]
pub(super) struct Question {
    method: Method,
    path: PathAndQuery,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl Question {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        let path = head.uri.path_and_query().cloned();
        Self {
            method: head.method.clone(),
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            accept: head.headers.get(ACCEPT).cloned(),
            content_type: head.headers.get(CONTENT_TYPE).cloned(),
            body,
        }
    }

    /// The request to a replica, with the name that its certificate carries.
    fn request(&self, server_name: &str) -> Result<Request<Full<Bytes>>, AskError> {
        let uri = Uri::builder()
            .scheme("https")
            .authority(server_name)
            .path_and_query(self.path.clone())
            .build()?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for (name, value) in [(ACCEPT, &self.accept), (CONTENT_TYPE, &self.content_type)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        Ok(request)
    }
}

/// Why a replica did not answer.
#[derive(Debug, Error)]
pub(super) enum AskError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It broke.
    #[error("the connection broke: {}", cause(.0))]
    Broken(#[from] hyper::Error),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Slow(Duration),
    /// The answer is longer than it may be, or broke off.
    #[error("its answer is {0}")]
    Answer(&'static str),
    /// The request cannot be written down.
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
}

/// The innermost cause: what wraps it says only where it was noticed.
fn cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// A connection, and whose certificate it shows.
#[derive(Debug)]
struct Link {
    identity: Arc<Identity>,
    sender: SendRequest<Full<Bytes>>,
}

impl Link {
    /// Whether it is open, and shows this certificate.
    fn is_of(&self, identity: &Arc<Identity>) -> bool {
        Arc::ptr_eq(&self.identity, identity) && !self.sender.is_closed()
    }
}

/// One duty listener.
#[derive(Debug)]
pub(super) struct Replica {
    peer: Peer,
    within: Duration,
    link: Mutex<Option<Arc<Link>>>,
}

impl Replica {
    pub(super) fn new(peer: Peer, within: Duration) -> Self {
        Self {
            peer,
            within,
            link: Mutex::new(None),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.peer.endpoint
    }

    /// Asks, and returns whatever it answers.
    pub(super) async fn ask(
        &self,
        identity: &Arc<Identity>,
        question: &Question,
    ) -> Result<Response<Full<Bytes>>, AskError> {
        let asked = timeout(self.within, self.ask_patiently(identity, question)).await;
        if let Ok(answer) = asked {
            return answer;
        }
        // It may be the connection that is dead: the next request makes another.
        if let Ok(mut link) = self.link.try_lock() {
            *link = None;
        }
        Err(AskError::Slow(self.within))
    }

    async fn ask_patiently(
        &self,
        identity: &Arc<Identity>,
        question: &Question,
    ) -> Result<Response<Full<Bytes>>, AskError> {
        let request = || question.request(&self.peer.server_name);
        if let Some(kept) = self.kept(identity).await {
            match exchange(&kept, request()?).await {
                // The signer ended it while nobody asked.
                Err(AskError::Broken(_)) => self.forget(&kept).await,
                answer => return answer,
            }
        }
        exchange(&*self.link(identity).await?, request()?).await
    }

    /// The connection that is kept, if it can still be used.
    async fn kept(&self, identity: &Arc<Identity>) -> Option<Arc<Link>> {
        let link = self.link.lock().await;
        link.as_ref().filter(|link| link.is_of(identity)).cloned()
    }

    async fn forget(&self, broken: &Arc<Link>) {
        let mut link = self.link.lock().await;
        link.take_if(|link| Arc::ptr_eq(link, broken));
    }

    /// That connection, or else a new one, which is then kept.
    async fn link(&self, identity: &Arc<Identity>) -> Result<Arc<Link>, AskError> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| link.is_of(identity)) {
            return Ok(link.clone());
        }
        let stream = TokioIo::new(self.peer.connect(identity).await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .handshake(stream)
            .await?;
        // It ends when it breaks, or when nobody holds its sender any more.
        TokioExecutor::new().execute(async move {
            connection.await.ok();
        });
        let identity = identity.clone();
        let link = Arc::new(Link { identity, sender });
        *kept = Some(link.clone());
        Ok(link)
    }
}

async fn exchange(
    link: &Link,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, AskError> {
    let mut sender = link.sender.clone();
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(AskError::Answer("longer than 512 KiB"));
        }
        Err(_) => return Err(AskError::Answer("cut off")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = head.status;
    if let Some(content_type) = head.headers.get(CONTENT_TYPE) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    Ok(response)
}
