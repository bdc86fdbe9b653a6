//! Watching health.

use crate::fixture::{Node, Replica, State, well};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringService as _;
use berth_proto::monitoring::v1::target_service_server::TargetService as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::PgPool;
use std::time::Duration;
use tonic::{Code, Request, Status};

type Watch = BoxStream<'static, Result<pb::WatchHealthResponse, Status>>;

async fn watch(replica: &Replica, node: &Node) -> Watch {
    let request = node.request(pb::WatchHealthRequest {
        node_id: node.id.to_string(),
    });
    replica
        .api
        .watch_health(request)
        .await
        .unwrap()
        .into_inner()
}

/// The next answer; a guard against a test that hangs, nothing is measured.
async fn next(watch: &mut Watch) -> Option<Result<pb::Health, Status>> {
    let next = tokio::time::timeout(Duration::from_secs(60), watch.next());
    let answer = next.await.unwrap()?;
    Some(answer.map(|answer| answer.health.unwrap()))
}

async fn state(watch: &mut Watch) -> State {
    next(watch).await.unwrap().unwrap().state()
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_new_sample_is_pushed_by_whichever_replica_received_it(db: PgPool) {
    let (here, there) = (Replica::new(&db), Replica::new(&db));
    let node = Node::known(&here).await;
    let mut watch = watch(&there, &node).await;
    assert_eq!(state(&mut watch).await, State::Unknown);
    node.store(&here.db, &well()).await;
    assert_eq!(state(&mut watch).await, State::Healthy);
    let mut down = well();
    down[0].value = 0.0;
    node.store(&here.db, &down).await;
    assert_eq!(state(&mut watch).await, State::Down);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_watch_ends_when_the_service_stops(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let mut watch = watch(&replica, &node).await;
    assert_eq!(state(&mut watch).await, State::Unknown);
    replica.stop.cancel();
    assert!(next(&mut watch).await.is_none());
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_watch_ends_with_its_node(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let mut watch = watch(&replica, &node).await;
    assert_eq!(state(&mut watch).await, State::Unknown);
    let request = pb::DeleteTargetRequest {
        node_id: node.id.to_string(),
    };
    let deleted = replica.api.delete_target(Request::new(request)).await;
    deleted.unwrap();
    assert!(next(&mut watch).await.is_none());
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_watch_ends_with_its_first_error(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let mut watch = watch(&replica, &node).await;
    assert_eq!(state(&mut watch).await, State::Unknown);
    db.close().await;
    let status = next(&mut watch).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(next(&mut watch).await.is_none());
}
