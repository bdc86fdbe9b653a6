//! A duty listener of the signer for these tests: HTTP/2 over real mutual TLS. It
//! answers as the test says, when the test lets it, and tells what it was asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::control_plane::{ControlPlane, serial_of};

/// One request as it arrived.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Serial of the sender's certificate.
    pub(crate) serial: u64,
    /// Method and path.
    pub(crate) line: String,
    /// Every header.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Bytes,
}

/// What decides an answer.
pub(crate) type Answer = fn(&Asked) -> Response<Full<Bytes>>;

/// Signs whatever it is asked.
pub(crate) fn signed(_: &Asked) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("{\"signature\":\"0xab\"}"));
    let json = "application/json; charset=utf-8".parse().unwrap();
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A duty listener; dropping it cuts the way.
pub(crate) struct Duty {
    pub(crate) address: SocketAddr,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
    /// Each answer takes a permit from here, for as long as it is made.
    pub(crate) gate: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
    task: JoinSet<()>,
}

impl Duty {
    /// One that answers at once.
    pub(crate) async fn start(plane: &ControlPlane, address: &str, answer: Answer) -> Self {
        Self::gated(plane, address, answer, Semaphore::MAX_PERMITS).await
    }

    /// One that gives so many answers at once; none for 0.
    pub(crate) async fn gated(
        plane: &ControlPlane,
        address: &str,
        answer: Answer,
        permits: usize,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::unbounded_channel();
        let scribe = Scribe {
            asked: sender,
            gate: Arc::new(Semaphore::new(permits)),
            now: Arc::default(),
            most: Arc::default(),
            answer,
        };
        let (gate, most) = (scribe.gate.clone(), scribe.most.clone());
        let mut task = JoinSet::new();
        task.spawn(scribe.accept(listener, plane.services.tls_server(&plane.placements)));
        Self {
            address,
            asked,
            gate,
            most,
            task,
        }
    }

    /// Most requests that were under way at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// Closes the port and every connection.
    pub(crate) async fn cut(mut self) {
        self.task.shutdown().await;
    }
}

#[derive(Clone)]
struct Scribe {
    asked: mpsc::UnboundedSender<Asked>,
    gate: Arc<Semaphore>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    answer: Answer,
}

impl Scribe {
    async fn accept(self, listener: TcpListener, tls: Arc<ServerConfig>) {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            open.spawn(self.clone().serve(stream, TlsAcceptor::from(tls.clone())));
        }
    }

    /// One connection; whoever shows no certificate is not heard.
    async fn serve(self, stream: TcpStream, tls: TlsAcceptor) {
        let Ok(stream) = tls.accept(stream).await else {
            return;
        };
        let serial = serial_of(&stream.get_ref().1.peer_certificates().unwrap()[0]);
        let service = service_fn(|request| self.clone().hear(serial, request));
        // How it ends is the agent's choice.
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
            .ok();
    }

    async fn hear(
        self,
        serial: u64,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let asked = Asked {
            serial,
            line: format!("{} {}", head.method, head.uri.path_and_query().unwrap()),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        };
        let answer = (self.answer)(&asked);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        // The test may have heard enough.
        self.asked.send(asked).ok();
        let _turn = self.gate.acquire().await.unwrap();
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(answer)
    }
}
