//! A connection of an agent that stays open. What it sends is ready, so that the
//! asking costs little.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::authority::Issued;

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// An answer in which nothing is said: everything was accepted.
const ALL: &[u8] = &[0; 5];

pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<hyper::Result<()>>,
}

impl Line {
    /// One without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self::over(connect(address).await).await
    }

    /// One of the machine that the certificate was issued for.
    pub(crate) async fn secure(address: SocketAddr, issued: &Issued, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
        roots.add(trusted).unwrap();
        let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![own], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("monitoring").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, connect(address).await);
        Self::over(stream.await.unwrap()).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        let mut task = JoinSet::new();
        task.spawn(connection);
        Self {
            sender,
            _connection: task,
        }
    }

    /// Sends an export and waits for its answer, which must accept all of it.
    pub(crate) async fn export(&mut self, frame: Bytes) {
        let request = Request::post(format!("https://monitoring{EXPORT}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", "gzip")
            .body(Full::new(frame))
            .unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().unwrap_or(&head.headers);
        assert_eq!(
            status(trailers),
            Some("0"),
            "{:?} {trailers:?}",
            head.headers
        );
        assert_eq!(*body.to_bytes(), *ALL);
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}
