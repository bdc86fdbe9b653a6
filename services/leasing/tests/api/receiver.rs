//! A receiver of webhooks: an HTTP server on loopback that keeps what it gets
//! and does what it is told, good or bad.

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the receiver does with a call.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with this status.
    Answers(u16),
    /// Leads elsewhere.
    Redirects(String),
    /// Says nothing until the caller goes.
    Hangs,
    /// Sends header lines without end.
    FloodsHeaders,
    /// Answers well, and sends a body without end.
    FloodsBody,
    /// Answers well once it is told to.
    Waits(Arc<Notify>),
}

/// One call, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct Book {
    calls: Vec<Call>,
    script: VecDeque<Does>,
    now: usize,
    most: usize,
}

/// Ends when it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    book: Arc<Mutex<Book>>,
    came: Arc<Notify>,
    _serving: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn plain() -> Self {
        Self::start(None).await
    }

    /// With TLS for `localhost`, and the certificate that must be trusted.
    pub(crate) async fn secure() -> (Self, String) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        (Self::start(Some(tls)).await, certificate.pem())
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (book, came) = (
            Arc::new(Mutex::new(Book::default())),
            Arc::new(Notify::new()),
        );
        let mut serving = JoinSet::new();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        serving.spawn(accept(listener, tls, Arc::clone(&book), Arc::clone(&came)));
        Self {
            address,
            scheme,
            book,
            came,
            _serving: serving,
        }
    }

    pub(crate) fn url(&self) -> String {
        let host = if self.scheme == "https" {
            "localhost"
        } else {
            "127.0.0.1"
        };
        format!("{}://{host}:{}/hook?a=1", self.scheme, self.address.port())
    }

    /// What it does with the next calls; then it answers 204.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Does>) {
        self.book.lock().unwrap().script = script.into_iter().collect();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.book.lock().unwrap().calls.clone()
    }

    /// The most calls that it had at once.
    pub(crate) fn most(&self) -> usize {
        self.book.lock().unwrap().most
    }

    /// Waits for a call.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    book: Arc<Mutex<Book>>,
    came: Arc<Notify>,
) {
    let mut calls = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, book, came) = (tls.clone(), Arc::clone(&book), Arc::clone(&came));
        calls.spawn(async move { connection(stream, tls, &book, &came).await });
        while calls.try_join_next().is_some() {}
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    book: &Mutex<Book>,
    came: &Notify,
) {
    match tls {
        None => serve(stream, book, came).await,
        // A caller that does not trust us goes.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, book, came).await;
            }
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, book: &Mutex<Book>, came: &Notify) {
    let Some(call) = read(&mut stream).await else {
        return;
    };
    let does = {
        let mut book = book.lock().unwrap();
        book.calls.push(call);
        book.now += 1;
        book.most = book.most.max(book.now);
        book.script.pop_front().unwrap_or(Does::Answers(204))
    };
    came.notify_one();
    act(&mut stream, does).await;
    book.lock().unwrap().now -= 1;
}

/// Writes until it is done or the caller has gone.
async fn act(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), does: Does) {
    let ended = "content-length: 0\r\nconnection: close\r\n\r\n";
    let (head, then) = match does {
        Does::Answers(status) => (format!("HTTP/1.1 {status} X\r\n{ended}"), None),
        Does::Redirects(to) => (format!("HTTP/1.1 302 X\r\nlocation: {to}\r\n{ended}"), None),
        Does::Hangs => (String::new(), Some("")),
        Does::FloodsHeaders => ("HTTP/1.1 200 X\r\n".to_owned(), Some("x: y\r\n")),
        Does::FloodsBody => ("HTTP/1.1 200 X\r\n\r\n".to_owned(), Some("endless ")),
        Does::Waits(told) => {
            told.notified().await;
            (format!("HTTP/1.1 204 X\r\n{ended}"), None)
        }
    };
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    match then {
        None => {
            stream.shutdown().await.ok();
        }
        Some("") => {
            stream.read_u8().await.ok();
        }
        Some(flood) => while stream.write_all(flood.as_bytes()).await.is_ok() {},
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Call> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().unwrap();
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(body).unwrap();
    Some(Call {
        path,
        headers,
        body,
    })
}
