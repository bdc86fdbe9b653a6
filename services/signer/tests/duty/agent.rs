//! A validator client that asks through the agent of its machine.

use crate::line::Answer;
use crate::made::public_key;
use crate::requests::request;
use crate::site::{Node, SLOT, Site, path};
use berth_agent::identity::Identity;
use berth_agent::peer::Peer;
use berth_agent::signer::{Carrier, Limits};
use berth_core::Fence;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// An agent that carries; ends when dropped.
struct Agent {
    address: SocketAddr,
    identities: watch::Sender<Option<Arc<Identity>>>,
    _stop: watch::Sender<()>,
    _task: JoinSet<()>,
}

impl Agent {
    async fn start(site: &Site, node: Node, fence: Fence) -> Self {
        let (identities, known) = watch::channel(None);
        let (stop, stopped) = watch::channel(());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = Peer {
            endpoint: format!("https://{}", site.duty),
            server_name: "signer".to_owned(),
            authority: site.pki.services.pem(),
        };
        let limits = Limits {
            answer_within: Duration::from_secs(60),
            ..Limits::default()
        };
        let mut task = JoinSet::new();
        task.spawn(Carrier::new(vec![peer], known, limits).run(listener, stopped));
        let agent = Self {
            address,
            identities,
            _stop: stop,
            _task: task,
        };
        agent.certify(site, node, fence);
        agent
    }

    /// Gives it a certificate whose renewal is long due.
    fn certify(&self, site: &Site, node: Node, fence: Fence) {
        let issued = site.certificate(node, fence);
        let identity = Identity {
            chain: issued.certificate,
            key: issued.key.into(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::now() + Duration::from_secs(60),
        };
        self.identities.send_replace(Some(Arc::new(identity)));
    }
}

/// A validator client's one connection, of plain HTTP.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Client {
    async fn of(agent: &Agent) -> Self {
        let stream = TcpStream::connect(agent.address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            connection.await.ok();
        });
        Self {
            sender,
            _task: task,
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "*/*", String::new()).await
    }

    /// Asks for a signature of the key of that number.
    async fn sign(&mut self, number: u8, body: &Value) -> Answer {
        let path = path(&public_key(number));
        self.ask("POST", &path, "*/*", body.to_string()).await
    }

    async fn ask(&mut self, method: &str, path: &str, accept: &str, body: String) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "berth-signer:9000")
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(Full::from(body));
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request.unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            code: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_client_signs_through_the_agent_of_the_current_placement_alone(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let foreign = site.node([2]).await;
    let (first, second) = (Fence::FIRST, Fence::FIRST.next());
    let agent = Agent::start(&site, node, first).await;
    // It lives on, whatever becomes of the one behind it.
    let mut client = Client::of(&agent).await;
    let vote = |slot| request(&site.chain, "ATTESTATION", slot);

    assert_eq!(client.get("/upcheck").await.code, 200);
    let keys = client.get("/api/v1/eth2/publicKeys").await;
    assert_eq!(keys.json(), json!([public_key(1)]));
    let signature = client.sign(1, &vote(SLOT - 8)).await.signature();
    let (path, same) = (path(&public_key(1)), vote(SLOT - 8).to_string());
    let answer = client.ask("POST", &path, "text/plain", same).await;
    assert_eq!(answer.text, signature);
    let answer = client.sign(2, &vote(SLOT)).await;
    answer.refused(404, "UNKNOWN_KEY");
    client.get("/metrics").await.refused(404, "UNKNOWN_PATH");

    site.advance(node, second).await;
    client.sign(1, &vote(SLOT)).await.refused(412, "FENCED");
    agent.certify(&site, node, second);
    let answer = client.sign(1, &vote(SLOT)).await;
    answer.refused(412, "NOT_GRANTED");
    site.grant(node, second).await;
    client.sign(1, &vote(SLOT)).await.signature();
    agent.certify(&site, node, second.next());
    let answer = client.sign(1, &vote(SLOT)).await;
    answer.refused(412, "NOT_GRANTED");
    agent.certify(&site, foreign, first);
    let answer = client.sign(1, &vote(SLOT)).await;
    answer.refused(404, "UNKNOWN_KEY");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn attesting_goes_on_without_vault_and_past_the_renewal_of_the_certificate(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let agent = Agent::start(&site, node, Fence::FIRST).await;
    site.vault.stop().await;
    for slot in [SLOT - 8, SLOT] {
        let mut client = Client::of(&agent).await;
        let vote = request(&site.chain, "ATTESTATION", slot);
        client.sign(1, &vote).await.signature();
    }
}
