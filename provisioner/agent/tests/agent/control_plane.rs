//! The agent's side of the control plane for these tests: authorities, a real OTLP
//! receiver and a placement listener, both over real mutual TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use berth_agent::backoff::Backoff;
use berth_agent::config::IdentityFiles;
use berth_agent::identity::{Identity, Store};
use berth_agent::peer::Peer;
use berth_proto::provisioning::v1::placement_service_server::{
    PlacementService, PlacementServiceServer,
};
use berth_proto::provisioning::v1::{RenewCertificateRequest, RenewCertificateResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::Router;
use tonic::transport::{Certificate, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, Pem};

/// Name in the certificates of both listeners.
pub(crate) const SERVER_NAME: &str = "control.berth.internal";

/// Waits that do not slow a test down.
pub(crate) const QUICK: Backoff = Backoff {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(50),
};

/// A guard against a test that hangs; nothing is measured with it.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("it never happened")
}

/// Makes the TLS provider of the process; safe to call by each test.
pub(crate) fn tls() {
    // A second call finds the first one's provider, which is the same.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// One certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for the key of a request, valid in these years.
    pub(crate) fn sign(&self, csr_pem: &str, serial: u64, years: (i32, i32)) -> String {
        let pem = Pem::iter_from_buffer(csr_pem.as_bytes())
            .next()
            .unwrap()
            .unwrap();
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        request.verify_signature().unwrap();
        let spki = &request.certification_request_info.subject_pki;
        let key = RequestedKey(spki.subject_public_key.data.to_vec());
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial.into());
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.signed_by(&key, &self.0).unwrap().pem()
    }

    fn server(&self, clients: &Self) -> ServerTlsConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([SERVER_NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        ServerTlsConfig::new()
            .identity(tonic::transport::Identity::from_pem(
                certificate.pem(),
                key.serialize_pem(),
            ))
            .client_ca_root(Certificate::from_pem(clients.pem()))
    }
}

impl Authority {
    /// The same for a listener without tonic.
    pub(crate) fn tls_server(&self, clients: &Self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([SERVER_NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots));
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The two authorities: of services, and of placements.
pub(crate) struct ControlPlane {
    pub(crate) services: Authority,
    pub(crate) placements: Authority,
}

impl ControlPlane {
    pub(crate) fn new() -> Self {
        tls();
        Self {
            services: Authority::new(),
            placements: Authority::new(),
        }
    }

    /// A folder as provisioning leaves it: the authority of the services.
    pub(crate) fn store(&self, folder: &Path) -> Store {
        let files = IdentityFiles {
            key_file: folder.join("key.pem"),
            csr_file: folder.join("request.pem"),
            certificate_file: folder.join("certificate.pem"),
            ca_file: folder.join("ca.pem"),
            renew_after_s: u32::MAX,
        };
        std::fs::write(&files.ca_file, self.services.pem()).unwrap();
        Store::new(files)
    }

    /// A certificate in that folder.
    pub(crate) fn identity(&self, store: &Store, serial: u64, years: (i32, i32)) -> Arc<Identity> {
        let chain = self.placements.sign(&store.csr().unwrap(), serial, years);
        Arc::new(store.install(&chain).unwrap())
    }

    pub(crate) fn peer(&self, address: SocketAddr) -> Peer {
        Peer {
            endpoint: format!("https://{address}"),
            server_name: SERVER_NAME.to_owned(),
            authority: self.services.pem(),
        }
    }

    /// Starts an OTLP receiver. `answer` decides each export by what arrived.
    pub(crate) async fn receiver(
        &self,
        address: &str,
        answer: fn(&Arrived) -> Result<(), Status>,
    ) -> (Listener, mpsc::UnboundedReceiver<Arrived>) {
        let (arrived, receiver) = mpsc::unbounded_channel();
        let service = MetricsServiceServer::new(OtlpReceiver { arrived, answer })
            .accept_compressed(CompressionEncoding::Gzip);
        let router = self.server().add_service(service);
        (Listener::start(address, router).await, receiver)
    }

    /// Starts a placement listener that refuses `refusals` times, then signs.
    /// Tells the serial of each caller.
    pub(crate) async fn placements(
        self: &Arc<Self>,
        refusals: usize,
    ) -> (Listener, mpsc::UnboundedReceiver<u64>) {
        let (callers, receiver) = mpsc::unbounded_channel();
        let refusals = AtomicUsize::new(refusals);
        let signer = Signer {
            control_plane: self.clone(),
            callers,
            refusals,
        };
        let router = self
            .server()
            .add_service(PlacementServiceServer::new(signer));
        (Listener::start("127.0.0.1:0", router).await, receiver)
    }

    fn server(&self) -> Server {
        Server::builder()
            .tls_config(self.services.server(&self.placements))
            .unwrap()
    }
}

/// A server that runs; dropping it stops it at once.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl Listener {
    async fn start(address: &str, router: Router) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let end = async { drop(stopped.await) };
            router
                .serve_with_incoming_shutdown(incoming, end)
                .await
                .unwrap();
        });
        Self {
            address,
            stop,
            task,
        }
    }

    /// Cuts the way: closes the port and every connection.
    pub(crate) async fn cut(mut self) {
        drop(self.stop);
        self.task.join_next().await;
    }
}

/// One export as it arrived.
pub(crate) struct Arrived {
    /// Serial of the sender's certificate.
    pub(crate) serial: u64,
    /// Whether it came compressed.
    pub(crate) compressed: bool,
    /// The request.
    pub(crate) request: ExportMetricsServiceRequest,
}

impl Arrived {
    /// The values of a metric.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        let mut values = Vec::new();
        for metric in &self.request.resource_metrics[0].scope_metrics[0].metrics {
            let points = match &metric.data {
                Some(metric::Data::Gauge(gauge)) => &gauge.data_points,
                Some(metric::Data::Sum(sum)) => &sum.data_points,
                other => panic!("the agent sends no {other:?}"),
            };
            if metric.name == name {
                values.extend(points.iter().map(|point| match point.value {
                    Some(number_data_point::Value::AsDouble(value)) => value,
                    other => panic!("the agent sends no {other:?}"),
                }));
            }
        }
        values
    }
}

struct OtlpReceiver {
    arrived: mpsc::UnboundedSender<Arrived>,
    answer: fn(&Arrived) -> Result<(), Status>,
}

#[tonic::async_trait]
impl MetricsService for OtlpReceiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let compressed = request
            .metadata()
            .get("grpc-encoding")
            .is_some_and(|with| with == "gzip");
        let serial = serial(&request);
        let arrived = Arrived {
            serial,
            compressed,
            request: request.into_inner(),
        };
        (self.answer)(&arrived)?;
        self.arrived.send(arrived).unwrap();
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

struct Signer {
    control_plane: Arc<ControlPlane>,
    callers: mpsc::UnboundedSender<u64>,
    refusals: AtomicUsize,
}

#[tonic::async_trait]
impl PlacementService for Signer {
    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let caller = serial(&request);
        self.callers.send(caller).unwrap();
        let refuse = |left: usize| left.checked_sub(1);
        if self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse)
            .is_ok()
        {
            return Err(Status::new(Code::Unavailable, "sealed"));
        }
        let csr = request.into_inner().csr_pem;
        let certificate_pem = self
            .control_plane
            .placements
            .sign(&csr, caller + 1, (1990, 4000));
        Ok(Response::new(RenewCertificateResponse { certificate_pem }))
    }
}

fn serial<T>(request: &Request<T>) -> u64 {
    serial_of(&request.peer_certs().unwrap()[0])
}

/// Serial of a certificate.
pub(crate) fn serial_of(certificate: &[u8]) -> u64 {
    let (_, leaf) = x509_parser::parse_x509_certificate(certificate).unwrap();
    u64::try_from(&leaf.serial).unwrap()
}
