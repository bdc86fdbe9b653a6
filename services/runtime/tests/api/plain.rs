//! Plain HTTP on a listener that speaks it: who is let through, and what the
//! others read.

use crate::authority::{Issued, Pki};
use berth_core::{NodeId, PlacementId};
use berth_runtime::identity::Trust;
use berth_runtime::server;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// A listener for services and one for placements, both with plain HTTP.
struct Site {
    pki: Pki,
    services: SocketAddr,
    placements: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Site {
    async fn start() -> Self {
        let pki = Pki::new();
        let identity = pki.identity("signer");
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        for trust in [Trust::Services, Trust::Placements] {
            let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tasks.spawn(server::serve_http(
                listener,
                identity.clone(),
                trust,
                server::routes().unwrap(),
                CancellationToken::new(),
            ));
        }
        Self {
            pki,
            services: addresses[0],
            placements: addresses[1],
            _tasks: tasks,
        }
    }

    async fn connect(&self, address: SocketAddr, issued: Issued) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.pki.services.pem().as_bytes());
        roots.add(authority.unwrap()).unwrap();
        let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![chain], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("signer").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    fn service(&self, role: &str) -> Issued {
        self.pki
            .services
            .issue(&format!("berth://service/{role}"), &[])
    }

    fn machine(&self) -> Issued {
        let (node, placement) = (NodeId::generate(), PlacementId::generate());
        let uri = format!("berth://placement/{node}/{placement}/1");
        self.pki.placements.issue(&uri, &[])
    }
}

/// Everything that a request of HTTP/1.1 is answered.
async fn get(mut stream: TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: signer\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The other side may close without a farewell.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn plain_http_is_for_those_that_its_path_is_for() {
    let site = Site::start().await;
    for (address, issued, path, let_through) in [
        (site.placements, site.machine(), "/upcheck", true),
        (
            site.placements,
            site.machine(),
            "/api/v1/eth2/sign/0xab",
            true,
        ),
        (site.placements, site.machine(), "/metrics", false),
        (site.placements, site.machine(), "/eth/v1/keystores", false),
        (site.placements, site.machine(), "/anything", false),
        (site.services, site.service("monitoring"), "/metrics", true),
        (
            site.services,
            site.service("gateway"),
            "/eth/v1/keystores",
            true,
        ),
        (
            site.services,
            site.service("leasing"),
            "/eth/v1/keystores",
            false,
        ),
        (site.services, site.service("gateway"), "/upcheck", false),
    ] {
        let answer = get(site.connect(address, issued).await, path).await;
        let refused = answer.starts_with("HTTP/1.1 403 ")
            && answer.contains(r#""reason":"CALLER_NOT_PERMITTED""#);
        // Nothing stands behind the path here; an answer of the routes is enough.
        assert_eq!(!refused, let_through, "{path}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_machine_has_so_many_connections_and_leaves_the_others_theirs() {
    let site = Site::start().await;
    let flooding = site.pki.placements.issue(
        &format!(
            "berth://placement/{}/{}/1",
            NodeId::generate(),
            PlacementId::generate()
        ),
        &[],
    );
    let again = || Issued {
        certificate: flooding.certificate.clone(),
        key: flooding.key.clone(),
    };
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(site.connect(site.placements, again()).await);
    }
    // One more is closed before it is answered.
    let answer = get(site.connect(site.placements, again()).await, "/upcheck").await;
    assert_eq!(answer, "");
    let other = site.connect(site.placements, site.machine()).await;
    assert!(get(other, "/upcheck").await.starts_with("HTTP/1.1 "));
}
