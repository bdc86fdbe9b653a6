//! Targets: which placement speaks for a node, and what is expected of it.

use crate::fixture::{Node, Replica, State, fields, put, reason, well};
use berth_core::{AccountId, PlacementId};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringService as _;
use berth_proto::monitoring::v1::target_service_server::TargetService as _;
use prost_types::Duration;
use sqlx::PgPool;
use tonic::{Code, Request};

fn expecting(change: fn(&mut pb::Expectation)) -> impl Fn(&mut pb::PutTargetRequest) {
    move |target| change(target.expectation.get_or_insert_default())
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

type Change = Box<dyn Fn(&mut pb::PutTargetRequest)>;

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn every_field_of_a_target_is_checked_and_named(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::new();
    let wrong: Vec<(&str, Change)> = vec![
        ("node_id", Box::new(|t| t.node_id.clear())),
        ("node_id", Box::new(|t| t.node_id = t.account_id.clone())),
        ("account_id", Box::new(|t| t.account_id.clear())),
        (
            "placement_id",
            Box::new(|t| t.placement_id = "x".to_owned()),
        ),
        ("fence", Box::new(|t| t.fence = 0)),
        ("fence", Box::new(|t| t.fence = u64::MAX)),
        (
            "expectation.min_peers",
            Box::new(expecting(|e| e.min_peers = u32::MAX)),
        ),
        (
            "expectation.max_distance",
            Box::new(expecting(|e| e.max_distance = u64::MAX)),
        ),
        (
            "expectation.max_block_age",
            Box::new(expecting(|e| e.max_block_age = seconds(-1))),
        ),
        (
            "expectation.min_disk_free_percent",
            Box::new(expecting(|e| e.min_disk_free_percent = 101)),
        ),
        (
            "expectation.silence",
            Box::new(expecting(|e| e.silence = seconds(i64::MAX))),
        ),
        (
            "expectation.gpu_count",
            Box::new(expecting(|e| e.gpu_count = 1001)),
        ),
    ];
    for (field, change) in &wrong {
        let mut target = node.target();
        change(&mut target);
        let status = put(&replica, target).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(fields(&status), [*field]);
    }
    let mut target = node.target();
    wrong.iter().for_each(|(_, change)| change(&mut target));
    let status = put(&replica, target).await.unwrap_err();
    assert_eq!(fields(&status).len(), 10, "{status:?}");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_lower_fence_is_refused_and_changes_nothing(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let stale = pb::PutTargetRequest {
        fence: node.fence - 1,
        running: false,
        ..node.target()
    };
    let status = put(&replica, stale).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason(&status), "FENCED");
    assert_eq!(status.message(), "fence 2 is not the current fence 3");
    let health = node.health(&replica).await.unwrap();
    assert_eq!((health.fence, health.reasons), (3, none_yet()));
}

fn none_yet() -> Vec<String> {
    vec!["no signal has come yet".to_owned()]
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_higher_fence_moves_the_node_and_the_same_one_changes_what_is_expected(db: PgPool) {
    let replica = Replica::new(&db);
    let mut node = Node::known(&replica).await;
    node.store(&db, &well()).await;
    let health = node.health(&replica).await.unwrap();
    assert_eq!(health.state(), State::Healthy, "{health:?}");

    let demanding = pb::PutTargetRequest {
        expectation: Some(pb::Expectation {
            min_peers: 9,
            ..Default::default()
        }),
        ..node.target()
    };
    put(&replica, demanding).await.unwrap();
    let health = node.health(&replica).await.unwrap();
    assert_eq!(health.state(), State::Degraded);
    assert_eq!(health.reasons, ["4 peers, fewer than 9"]);

    (node.placement, node.fence) = (PlacementId::generate(), 4);
    put(&replica, node.target()).await.unwrap();
    let health = node.health(&replica).await.unwrap();
    assert_eq!((health.state(), health.fence), (State::Unknown, 4));
    assert_eq!(health.reasons, none_yet());
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_stopped_node_is_not_down(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    node.store(&db, &well()).await;
    let stopped = pb::PutTargetRequest {
        running: false,
        ..node.target()
    };
    put(&replica, stopped).await.unwrap();
    let health = node.health(&replica).await.unwrap();
    assert_eq!(health.state(), State::Unknown);
    assert_eq!(health.reasons, ["stopped by its owner"]);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_node_of_another_account_is_not_found(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let stranger = Node {
        account: AccountId::generate(),
        ..node
    };
    let status = stranger.health(&replica).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let watch = stranger.request(pb::WatchHealthRequest {
        node_id: node.id.to_string(),
    });
    let status = replica.api.watch_health(watch).await.err().unwrap();
    assert_eq!(status.code(), Code::NotFound);
    let query = stranger.request(pb::QuerySamplesRequest {
        node_id: node.id.to_string(),
        ..Default::default()
    });
    let status = replica.api.query_samples(query).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = put(&replica, stranger.target()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn without_an_account_nobody_asks(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let request = Request::new(pb::GetHealthRequest {
        node_id: node.id.to_string(),
    });
    let status = replica.api.get_health(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_deleted_target_takes_its_samples_along_and_may_be_deleted_again(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let other = Node::known(&replica).await;
    node.store(&db, &well()).await;
    other.store(&db, &well()).await;
    for _ in 0..2 {
        let request = pb::DeleteTargetRequest {
            node_id: node.id.to_string(),
        };
        let deleted = replica.api.delete_target(Request::new(request)).await;
        deleted.unwrap();
    }
    assert_eq!(
        node.health(&replica).await.unwrap_err().code(),
        Code::NotFound
    );
    let left: (i64, i64) =
        sqlx::query_as("select (select count(*) from series), (select count(*) from sample)")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(left, (4, 4));
}
