//! The node's bridge for these tests: the agent's way to the signer, and a
//! validator client's plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_agent::identity::{Identity, Store};
use berth_agent::peer::Peer;
use berth_agent::signer::{Carrier, Limits};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control_plane::{ControlPlane, soon};

/// Bounds that only a test which hangs comes to.
pub(crate) const PATIENT: Limits = Limits {
    connections: 256,
    requests: 32,
    body: 1 << 20,
    head_within: Duration::from_secs(60),
    body_within: Duration::from_secs(60),
    answer_within: Duration::from_secs(60),
};

const VALID: (i32, i32) = (2000, 4000);

/// A carrier that runs; ends when dropped.
pub(crate) struct Bridge {
    pub(crate) address: SocketAddr,
    store: Store,
    identities: watch::Sender<Option<Arc<Identity>>>,
    stop: watch::Sender<()>,
    task: JoinSet<()>,
    _folder: TempDir,
}

impl Bridge {
    /// One without a certificate.
    pub(crate) async fn bare(plane: &ControlPlane, peers: Vec<Peer>, limits: Limits) -> Self {
        Self::placed(plane, "", peers, limits).await
    }

    /// One of a placement, without a certificate.
    pub(crate) async fn placed(
        plane: &ControlPlane,
        placement_id: &str,
        peers: Vec<Peer>,
        limits: Limits,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (identities, receiver) = watch::channel(None);
        let (stop, stopped) = watch::channel(());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        let carrier = Carrier::new(peers, receiver, limits);
        let carrier = match placement_id {
            "" => carrier,
            of => carrier.of(of),
        };
        task.spawn(carrier.run(listener, stopped));
        Self {
            address,
            store: plane.store(folder.path()),
            identities,
            stop,
            task,
            _folder: folder,
        }
    }

    /// One with a certificate, of serial 1.
    pub(crate) async fn new(plane: &ControlPlane, peers: Vec<Peer>, limits: Limits) -> Self {
        let bridge = Self::bare(plane, peers, limits).await;
        bridge.certify(plane, 1);
        bridge
    }

    /// Gives it a new certificate.
    pub(crate) fn certify(&self, plane: &ControlPlane, serial: u64) {
        let identity = plane.identity(&self.store, serial, VALID);
        self.identities.send_replace(Some(identity));
    }

    /// Tells it to stop; the task ends once what is on its way is answered.
    pub(crate) fn stop(self) -> JoinSet<()> {
        drop(self.stop);
        self.task
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await.unwrap()
    }

    /// Asks over a connection of its own.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        self.client().await.ask(request).await.unwrap()
    }
}

/// A connection of a validator client.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Whoever asks is told of its end.
            connection.await.ok();
        });
        Ok(Self {
            sender,
            _task: task,
        })
    }

    pub(crate) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, hyper::Error> {
        soon(async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        })
        .await
    }
}

/// A request for a signature.
pub(crate) fn wanted(body: &str) -> Request<Full<Bytes>> {
    Request::post("/api/v1/eth2/sign/0x01")
        .header("host", "berth-signer:9000")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .unwrap()
}

/// Status and stable reason of an answer that the agent made itself.
pub(crate) fn refusal(answer: &Response<Bytes>) -> (StatusCode, String, String) {
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (answer.status(), text("reason"), text("message"))
}
