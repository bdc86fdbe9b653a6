//! A caller's connection to a listener.

use crate::authority::{Issued, Pki};
use berth_core::AccountId;
use berth_runtime::auth::ACCOUNT_HEADER;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connects with a certificate, for one protocol.
pub(crate) async fn connect(
    pki: &Pki,
    address: SocketAddr,
    issued: &Issued,
    protocol: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(pki.services.pem().as_bytes());
    roots.add(authority.unwrap()).unwrap();
    let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("signer").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

/// One connection of HTTP/2, as the agent has it.
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    account: Option<AccountId>,
    _task: JoinSet<()>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers[CONTENT_TYPE], "application/json", "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    /// Code and reason of a refusal.
    #[track_caller]
    pub(crate) fn refused(&self, code: u16, reason: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let error = &self.json()["error"];
        assert_eq!(error["reason"], reason, "{self:?}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
    }

    /// The signature of an answer that has one.
    #[track_caller]
    pub(crate) fn signature(&self) -> String {
        assert_eq!(self.code, StatusCode::OK, "{self:?}");
        let answer = self.json();
        let signature = answer["signature"].as_str().unwrap();
        assert_eq!(answer, json!({ "signature": signature }));
        signature.to_owned()
    }
}

impl Line {
    pub(crate) async fn open(pki: &Pki, address: SocketAddr, issued: &Issued) -> Self {
        let stream = connect(pki, address, issued, b"h2").await;
        let executor = TokioExecutor::new();
        let (sender, connection) = http2::handshake(executor, TokioIo::new(stream))
            .await
            .unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            connection.await.ok();
        });
        Self {
            sender,
            account: None,
            _task: task,
        }
    }

    /// The same for an account, as the gateway does it.
    pub(crate) fn of(self, account: AccountId) -> Self {
        Self {
            account: Some(account),
            ..self
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, None, body.to_string()).await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        accept: Option<&str>,
        body: String,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://signer{path}"))
            .header(CONTENT_TYPE, "application/json");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(account) = self.account {
            request = request.header(ACCOUNT_HEADER, account.to_string());
        }
        let request = request.body(Full::from(body)).unwrap();
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            code: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}
