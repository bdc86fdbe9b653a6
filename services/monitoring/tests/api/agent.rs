//! The whole way: a node that answers, the agent that asks it, and monitoring as
//! it is started in production, twice on one database.

use crate::authority::Pki;
use crate::eventually::eventually;
use crate::fixture::{Node, State};
use crate::held::Held;
use crate::listeners::certificate;
use berth_agent::run::Pace;
use berth_core::PlacementId;
use berth_monitoring::{Config, ForwardConfig};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::monitoring::v1::target_service_client::TargetServiceClient;
use berth_runtime::clients;
use berth_runtime::clients::{request, request_for};
use berth_runtime::pg::DatabaseConfig;
use berth_runtime::platform::{Peers, Platform};
use berth_runtime::tasks::Tasks;
use sqlx::{ConnectOptions as _, PgPool};
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// One replica, as `berth serve monitoring` starts it.
struct Monitoring {
    tasks: Tasks,
    services: Channel,
    machines: Held,
    _main: Held,
}

impl Monitoring {
    async fn start(db: &PgPool, pki: &Pki) -> Self {
        let (main, machines) = (Held::new(), Held::new());
        let config = Config {
            listen: main.address(),
            otlp_listen: machines.address(),
            database: DatabaseConfig {
                url: db.connect_options().to_url_lossy().to_string().into(),
                max_connections: 4,
            },
            forward: ForwardConfig::default(),
            observe: Vec::new(),
        };
        let platform = Platform {
            identity: pki.identity("monitoring"),
            peers: Peers {
                inventory: String::new(),
                leasing: String::new(),
                provisioning: String::new(),
                monitoring: String::new(),
                signer: String::new(),
            },
        };
        let mut tasks = Tasks::new();
        berth_monitoring::start(&config, &platform, &mut tasks)
            .await
            .unwrap();
        let identity = pki.identity("provisioning");
        Self {
            tasks,
            services: clients::channel("monitoring", &main.address().to_string(), &identity),
            machines,
            _main: main,
        }
    }

    async fn put(&self, node: &Node) {
        TargetServiceClient::new(self.services.clone())
            .put_target(request(node.target()))
            .await
            .unwrap();
    }

    async fn health(&self, node: &Node) -> pb::Health {
        let asked = pb::GetHealthRequest {
            node_id: node.id.to_string(),
        };
        let answer = MonitoringServiceClient::new(self.services.clone())
            .get_health(request_for(node.account, asked))
            .await;
        answer.unwrap().into_inner().health.unwrap()
    }

    async fn end(self) {
        self.tasks.stop().cancel();
        assert_eq!(self.tasks.run().await, Ok(()));
    }
}

/// Answers every question as a node at height 4711 does.
async fn node_that_answers(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // On a busy computer the agent gives a probe up, and asks again.
        answer(stream).await.ok();
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let body = r#"{"height":"4711","catching_up":false,"peers":[1,2,3]}"#;
    let length = body.len();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await
}

/// What provisioning puts into the agent's container.
fn agent(
    folder: &Path,
    pki: &Pki,
    node: &Node,
    machines: SocketAddr,
    probed: SocketAddr,
) -> berth_agent::config::Config {
    let issued = certificate(&pki.placements, node);
    std::fs::write(folder.join("ca.pem"), pki.services.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), issued.key).unwrap();
    std::fs::write(folder.join("certificate.pem"), issued.certificate).unwrap();
    let text = format!(
        r#"
schema = 1
interval_s = 1
buffer_bytes = 4194304
volumes = "{folder}"
[node]
node_id = "{id}"
placement_id = "{placement}"
fence = {fence}
chain = "test"
role = "full"
[control]
otlp_endpoint = "https://{machines}"
otlp_server_name = "monitoring"
renew_endpoint = "https://{machines}"
renew_server_name = "provisioning"
[identity]
key_file = "{folder}/key.pem"
csr_file = "{folder}/request.pem"
certificate_file = "{folder}/certificate.pem"
ca_file = "{folder}/ca.pem"
renew_after_s = 28800
[resource]
"service.name" = "berth-agent"
[[probes]]
kind = "http-json"
name = "status"
url = "http://{probed}/status"
liveness = true
[[probes.values]]
metric = "berth.node.height"
pointer = "/height"
[[probes.values]]
metric = "berth.node.catching_up"
pointer = "/catching_up"
[[probes.values]]
metric = "berth.node.peers"
pointer = "/peers"
as = "count"
"#,
        folder = folder.display(),
        id = node.id,
        placement = node.placement,
        fence = node.fence,
    );
    berth_agent::config::Config::parse(&text).unwrap()
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_the_agent_measures_is_health_at_every_replica(db: PgPool) {
    let pki = Pki::new();
    let (one, other) = (
        Monitoring::start(&db, &pki).await,
        Monitoring::start(&db, &pki).await,
    );
    let node = Node::new();
    one.put(&node).await;
    let probed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = probed.local_addr().unwrap();
    let config = agent(folder.path(), &pki, &node, one.machines.address(), address);
    let mut tasks = JoinSet::new();
    tasks.spawn(node_that_answers(probed));
    tasks.spawn(async move {
        let never = std::future::pending();
        let ended = berth_agent::run::run(config, Pace::default(), never).await;
        panic!("the agent ended: {ended:?}");
    });

    let health = eventually("the node is healthy", async || {
        let health = other.health(&node).await;
        (health.state() == State::Healthy).then_some(health)
    });
    let health = health.await;
    assert_eq!((health.height, health.peers), (4711, 3));
    assert_eq!(health.sync_percent, 100);

    // Its placement is not the current one any more: it goes on, unheard.
    let moved = Node {
        fence: 4,
        placement: PlacementId::generate(),
        ..node
    };
    other.put(&moved).await;
    let health = one.health(&node).await;
    assert_eq!((health.state(), health.fence), (State::Unknown, 4));
    drop(tasks);
    one.end().await;
    other.end().await;
}
