//! Looking at a chain for nodes and for the signer, whose part a server plays
//! that keeps what it is told.

use crate::beacon::{GENESIS, network, root};
use crate::duty::signs;
use crate::fixture::{Node, Replica, fields, put};
use crate::node::BeaconNode;
use berth_monitoring::ObserveConfig;
use berth_monitoring::reconcile::{Custody, Endpoints, observer};
use berth_proto::monitoring::v1 as monitoring;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::custody_service_server::{CustodyService, CustodyServiceServer};
use berth_runtime::reconcile::Reconciler;
use berth_runtime::wire;
use chrono::{DateTime, TimeDelta, Utc};
use monitoring::duty::State;
use pb::report_observation_request::Seen;
use serde_json::json;
use sqlx::PgPool;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

const CHAIN: &str = "ethereum-test";
/// So long that the slot stays the same while a test runs.
const SLOT_S: u32 = 3600;

/// A signer with keys in quarantine since a time.
#[derive(Clone, Default)]
struct Signer {
    since: DateTime<Utc>,
    keys: Vec<String>,
    told: Arc<Mutex<Vec<pb::ReportObservationRequest>>>,
}

/// Genesis was so many slots ago, and a half.
fn genesis_time() -> u64 {
    let ago = TimeDelta::seconds(34 * i64::from(SLOT_S) + i64::from(SLOT_S) / 2);
    (berth_core::now() - ago).timestamp().unsigned_abs()
}

#[tonic::async_trait]
impl CustodyService for Signer {
    async fn list_quarantined(
        &self,
        request: Request<pb::ListQuarantinedRequest>,
    ) -> Result<Response<pb::ListQuarantinedResponse>, Status> {
        assert_eq!(request.get_ref().chain, CHAIN);
        let key = |key: &String| pb::QuarantinedKey {
            public_key: key.clone(),
            quarantine_time: Some(wire::timestamp(self.since)),
        };
        let chain = pb::SigningChain {
            name: CHAIN.to_owned(),
            genesis_validators_root: [vec![0; 31], vec![1]].concat(),
            genesis_time: self.since.timestamp().unsigned_abs(),
            seconds_per_slot: SLOT_S,
            preset: "minimal".to_owned(),
            forks: Vec::new(),
        };
        Ok(Response::new(pb::ListQuarantinedResponse {
            chain: Some(chain),
            keys: self.keys.iter().map(key).collect(),
            next_page_token: String::new(),
        }))
    }

    async fn report_observation(
        &self,
        request: Request<pb::ReportObservationRequest>,
    ) -> Result<Response<pb::ReportObservationResponse>, Status> {
        self.told.lock().unwrap().push(request.into_inner());
        Ok(Response::new(pb::ReportObservationResponse::default()))
    }
}

fn key(number: u64) -> String {
    format!("0x{number:096x}")
}

/// Validators of these numbers, each its own index, and what becomes of them.
fn standing(beacon: &BeaconNode, validators: &[(u64, &str)]) {
    let ids: Vec<_> = validators
        .iter()
        .map(|(n, _)| format!("id={}", key(*n)))
        .collect();
    let found = validators.iter().filter(|(_, status)| *status != "unknown");
    let found = found.map(|(number, status)| {
        json!({
            "index": number.to_string(), "balance": "32000000000", "status": status,
            "validator": { "pubkey": key(*number), "slashed": status.contains("slashed") },
        })
    });
    let path = format!("/eth/v1/beacon/states/head/validators?{}", ids.join("&"));
    beacon.data(&path, &json!(found.collect::<Vec<_>>()));
}

/// A beacon node of the network, whose head is slot 34, in epoch 4.
async fn beacon(genesis_time: u64) -> BeaconNode {
    let beacon = BeaconNode::new().await;
    network(&beacon, &[7, 14, 16, 17, 18, 20, 22, 23, 25, 30, 33, 34]);
    let genesis = json!({
        "genesis_time": genesis_time.to_string(), "genesis_validators_root": root(1),
    });
    beacon.data(GENESIS, &genesis);
    beacon
}

/// An observer that asks these beacon nodes, and a signer.
async fn observing(db: &PgPool, urls: &[&str], signer: &Signer) -> (Reconciler, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = CustodyServiceServer::new(signer.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        let served = Server::builder().add_service(service);
        served.serve_with_incoming(incoming).await.unwrap();
    });
    let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
    let endpoints = Endpoints::new(&[config(CHAIN, urls)]).unwrap();
    endpoints.wake(db).await.unwrap();
    let observer = observer(db.clone(), endpoints, Custody::new(channel));
    (observer, tasks)
}

fn config(chain: &str, urls: &[&str]) -> ObserveConfig {
    ObserveConfig {
        chain: chain.to_owned(),
        urls: urls.iter().map(|url| (*url).into()).collect(),
        timeout_seconds: 30,
    }
}

fn target(node: &Node, keys: &[u64]) -> monitoring::PutTargetRequest {
    monitoring::PutTargetRequest {
        chain: CHAIN.to_owned(),
        public_keys: keys.iter().map(|number| key(*number)).collect(),
        duty: Some(signs()),
        ..node.target()
    }
}

/// What came of the step, and has it taken at once again.
async fn outcome(db: &PgPool, observer: &Reconciler) -> String {
    sqlx::query("update work set not_before = now() where kind = 'observe'")
        .execute(db)
        .await
        .unwrap();
    assert!(observer.turn().await.unwrap());
    sqlx::query_scalar("select reason from work where kind = 'observe'")
        .fetch_one(db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_look_tells_duty_and_balance_and_the_signer_what_it_waits_for(db: PgPool) {
    let replica = Replica::new(&db);
    let since = genesis_time();
    let beacon = beacon(since).await;
    let signer = Signer {
        since: DateTime::from_timestamp(i64::try_from(since).unwrap(), 0).unwrap(),
        keys: [18, 117, 300].map(key).to_vec(),
        ..Signer::default()
    };
    let (observer, _tasks) = observing(&db, &["http://127.0.0.1:1", &beacon.url], &signer).await;
    let node = Node::new();
    put(&replica, target(&node, &[16, 20])).await.unwrap();
    let before = node.health(&replica).await.unwrap().duty.unwrap();
    assert_eq!(before.balance_gwei, None);

    let active = "active_ongoing";
    let all = |of_20| {
        [
            (16, active),
            (18, active),
            (20, of_20),
            (117, active),
            (300, "unknown"),
        ]
    };
    standing(&beacon, &all(active));
    assert_eq!(outcome(&db, &observer).await, "looked");
    let seen: Vec<(String, Option<i64>, Option<i64>)> = sqlx::query_as(
        "select public_key, seen_epoch, silent_last from observed order by public_key",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    let wanted = [
        (key(16), Some(2), None),
        (key(18), None, Some(2)),
        (key(20), None, Some(2)),
        (key(117), Some(2), None),
        (key(300), None, None),
    ];
    assert_eq!(seen, wanted);
    let duty = node.health(&replica).await.unwrap().duty.unwrap();
    assert_eq!(duty.balance_gwei, Some(64_000_000_000));

    // One epoch of silence is not told; activity, and that there is no duty, is.
    let told = signer.told.lock().unwrap().clone();
    let told: Vec<_> = told
        .into_iter()
        .map(|one| (one.public_key, one.seen))
        .collect();
    let idle = pb::SeenIdle {
        status: "unknown".to_owned(),
    };
    let wanted = [
        (key(117), Some(Seen::Active(pb::SeenActive { epoch: 2 }))),
        (key(300), Some(Seen::Idle(idle))),
    ];
    assert_eq!(told, wanted);

    assert_eq!(outcome(&db, &observer).await, "nothing new");
    let slashed = all("active_slashed");
    standing(&beacon, &slashed);
    sqlx::query("update observed set epoch = 3")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(outcome(&db, &observer).await, "looked");
    let duty = node.health(&replica).await.unwrap().duty.unwrap();
    assert_eq!(duty.state(), State::Tombstoned);
    assert_eq!(duty.reason, "1 of 2 validators slashed");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn an_endpoint_of_another_network_or_behind_tells_nothing(db: PgPool) {
    let replica = Replica::new(&db);
    let since = genesis_time();
    let other = beacon(since + 1).await;
    let late = beacon(since).await;
    network(&late, &[7, 14, 16, 17, 18, 20, 22]);
    let signer = Signer {
        since: DateTime::from_timestamp(i64::try_from(since).unwrap(), 0).unwrap(),
        ..Signer::default()
    };
    let (observer, _tasks) = observing(&db, &[&other.url, &late.url], &signer).await;
    assert_eq!(outcome(&db, &observer).await, "nothing to look for");
    assert!(other.asked().is_empty(), "nothing was asked for nobody");

    put(&replica, target(&Node::new(), &[16])).await.unwrap();
    let problem = outcome(&db, &observer).await;
    assert!(problem.contains("on another network"), "{problem}");
    assert!(problem.contains("newest block is of slot 22"), "{problem}");
    let seen: i64 = sqlx::query_scalar("select count(*) from observed")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(seen, 0);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn keys_of_a_node_are_checked(db: PgPool) {
    let replica = Replica::new(&db);
    for keys in [
        vec!["0x12".to_owned()],
        vec![key(1)[2..].to_owned()],
        vec![key(1); 1001],
    ] {
        let request = monitoring::PutTargetRequest {
            public_keys: keys,
            ..Node::new().target()
        };
        let refused = put(&replica, request).await.unwrap_err();
        assert_eq!(fields(&refused), ["public_keys"]);
    }
}

#[test]
fn endpoints_are_named_once_a_chain_and_each_has_an_address() {
    for wrong in [
        vec![config("a", &[])],
        vec![config("a", &["beacon:5052"])],
        vec![config("a", &["http://b"]), config("a", &["http://c"])],
    ] {
        assert!(Endpoints::new(&wrong).is_err());
    }
    let good = [config("a", &["http://b"]), config("c", &["https://d/e"])];
    assert!(Endpoints::new(&good).is_ok());
}
