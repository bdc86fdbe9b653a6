//! The way from a validator client to the signer.
//!
//! The client speaks plain HTTP on the node's bridge, the signer mutual TLS. Of a
//! request go on its method, path, query and body, and what it says of media types;
//! of an answer come back its status, media type and body. The machine is not
//! trusted: number, size and time of requests are bounded, and whoever exceeds a
//! bound waits or is told.
//!
//! Deliberately absent: any opinion on what may be signed. That is the signer's.

mod refusal;
mod replica;

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::peer::{Identities, Peer};
use refusal::Refusal;
use replica::{Question, Replica};

/// Longest head of a request, and most that is read ahead of each connection.
const MAX_HEAD: usize = 16 * 1024;
/// The paths that are carried: this one, and what is below the other.
const UPCHECK: &str = "/upcheck";
const API: &str = "/api/v1/eth2/";

/// Bounds of what the machine may ask of the agent.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that are open at once; more wait.
    pub connections: usize,
    /// Requests that are on their way at once; more wait.
    pub requests: usize,
    /// Longest body of a request, in bytes.
    pub body: usize,
    /// Longest silence of a connection until the head of a request is there.
    pub head_within: Duration,
    /// Longest time from a request's turn until its body is there.
    pub body_within: Duration,
    /// Longest time for one replica, from the connection to the end of its answer.
    pub answer_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            requests: 32,
            body: 1 << 20,
            head_within: Duration::from_secs(60),
            body_within: Duration::from_secs(5),
            answer_within: Duration::from_secs(4),
        }
    }
}

/// The task that carries.
#[derive(Debug)]
pub struct Carrier {
    replicas: Vec<Replica>,
    identities: Identities,
    limits: Limits,
    places: Semaphore,
    /// The replica that answered last: the next request begins there.
    first: AtomicUsize,
    /// Whether none did, so that it is said once.
    cut: AtomicBool,
}

impl Carrier {
    /// The way to these duty listeners of one signer.
    #[must_use]
    pub fn new(peers: Vec<Peer>, identities: Identities, limits: Limits) -> Self {
        let replica = |peer| Replica::new(peer, limits.answer_within);
        Self {
            replicas: peers.into_iter().map(replica).collect(),
            identities,
            limits,
            places: Semaphore::new(limits.requests),
            first: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
        }
    }

    /// Begins with a replica of this placement's own choice, so that agents do not
    /// all ask the same one.
    #[must_use]
    pub fn of(mut self, placement_id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        placement_id.hash(&mut hasher);
        let count = self.replicas.len().max(1) as u64;
        *self.first.get_mut() = usize::try_from(hasher.finish() % count).unwrap_or_default();
        self
    }

    /// Carries until the sender of `stop` is dropped, then ends what is on its way.
    pub async fn run(self, listener: TcpListener, mut stop: watch::Receiver<()>) {
        let carrier = Arc::new(self);
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                Some(_) = open.join_next() => {}
                accepted = listener.accept(), if open.len() < carrier.limits.connections => {
                    match accepted {
                        Ok((stream, _)) => {
                            open.spawn(serve(carrier.clone(), stream, stop.clone()));
                        }
                        Err(error) => {
                            // Out of files, most likely: wait for some to close.
                            tracing::warn!(%error, "cannot accept a connection to the signer");
                            sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.carry(request)
            .await
            .unwrap_or_else(|refusal| refusal.response())
    }

    async fn carry(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refusal> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path != UPCHECK && !path.starts_with(API) {
            return Err(Refusal::Path);
        }
        if head.method != Method::GET && head.method != Method::POST {
            return Err(Refusal::Method);
        }
        let limit = self.limits.body;
        if body.size_hint().lower() > limit as u64 {
            return Err(Refusal::TooLarge(limit));
        }
        // It is never closed. Only who has a place may fill memory with a body.
        let _place = self.places.acquire().await;
        let question = Question::new(&head, self.read(body).await?);
        let answer = self.ask(&question).await;
        self.tell(&answer);
        answer.map_err(Refusal::Unreachable)
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let (limit, within) = (self.limits.body, self.limits.body_within);
        match timeout(within, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge(limit)),
            // Cut off, or not framed as HTTP: no more of it comes.
            Ok(Err(_)) | Err(_) => Err(Refusal::TooSlow(within)),
        }
    }

    /// The first answer of a replica. What one did not answer, another may be
    /// asked: the signer signs the same root twice, and never two that conflict.
    async fn ask(&self, question: &Question) -> Result<Response<Full<Bytes>>, String> {
        let identity = self.identities.borrow().clone();
        let Some(identity) = identity else {
            return Err("the agent has no certificate yet".to_owned());
        };
        let (count, first) = (self.replicas.len(), self.first.load(Ordering::Relaxed));
        let mut reasons = Vec::new();
        for i in (first..first + count).map(|i| i % count) {
            let replica = &self.replicas[i];
            match replica.ask(&identity, question).await {
                Ok(answer) => {
                    self.first.store(i, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(reason) => {
                    let replica = replica.endpoint();
                    tracing::debug!(replica, %reason, "a replica of the signer does not answer");
                    reasons.push(format!("{replica}: {reason}"));
                }
            }
        }
        Err(reasons.join("; "))
    }

    /// Logs that the signer is away, or back.
    fn tell(&self, answer: &Result<Response<Full<Bytes>>, String>) {
        match answer {
            Err(reason) if !self.cut.swap(true, Ordering::Relaxed) => {
                tracing::warn!(reason, "the signer cannot be reached");
            }
            Ok(_) if self.cut.swap(false, Ordering::Relaxed) => {
                tracing::info!("the signer answers again");
            }
            _ => {}
        }
    }
}

/// One connection of the validator client.
async fn serve(carrier: Arc<Carrier>, stream: TcpStream, mut stop: watch::Receiver<()>) {
    // Without it a small answer waits 40 ms for an acknowledgement.
    stream.set_nodelay(true).ok();
    let answer = |request| {
        let carrier = carrier.clone();
        async move { Ok::<_, Infallible>(carrier.answer(request).await) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(carrier.limits.head_within)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the signer broke");
    }
}
