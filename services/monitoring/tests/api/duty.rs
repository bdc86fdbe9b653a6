//! Duty: from the samples of a placement to the headline of its node.

use crate::fixture::{Node, Replica, fields, point, put, well};
use berth_core::PlacementId;
use berth_monitoring::otlp::Point;
use berth_proto::monitoring::v1 as pb;
use chrono::TimeDelta;
use pb::duty::State;
use prost_types::Duration;
use sqlx::PgPool;
use tonic::Code;

pub(crate) fn signs() -> pb::DutySigns {
    pb::DutySigns {
        done: "hits".to_owned(),
        missed: "misses".to_owned(),
        in_set: "active".to_owned(),
        refused: "sign_errors".to_owned(),
        unready: String::new(),
        window: Some(Duration {
            seconds: 60,
            nanos: 0,
        }),
    }
}

fn validator(node: &Node) -> pb::PutTargetRequest {
    pb::PutTargetRequest {
        duty: Some(signs()),
        ..node.target()
    }
}

/// A counter that grows by so much every ten seconds, until now.
fn growing(name: &str, by: f64) -> Vec<Point> {
    let now = berth_core::now();
    (0..=5_i32)
        .map(|step| {
            let time = now - TimeDelta::seconds(i64::from(50 - step * 10));
            point(name, time, 1000.0 + by * f64::from(step))
        })
        .collect()
}

/// The samples of a validator that follows its chain.
fn following(done: f64, missed: f64) -> Vec<Point> {
    let mut points = well();
    points.push(point("active", berth_core::now(), 4.0));
    points.extend(growing("hits", done));
    points.extend(growing("misses", missed));
    points
}

async fn duty(node: &Node, replica: &Replica) -> pb::Duty {
    node.health(replica).await.unwrap().duty.unwrap()
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_validator_earns_by_its_counters_and_not_by_running(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::new();
    put(&replica, validator(&node)).await.unwrap();
    let before = duty(&node, &replica).await;
    assert_eq!(before.state(), State::Unknown);
    assert_eq!(before.reason, "no signal has come yet");

    node.store(&db, &following(4.0, 0.0)).await;
    let earning = duty(&node, &replica).await;
    assert_eq!(
        (earning.state(), earning.reason.as_str()),
        (State::Earning, "")
    );
    assert_eq!((earning.done, earning.missed), (20, 0));
    assert_eq!(earning.window, signs().window);

    let idle = Node::new();
    put(&replica, validator(&idle)).await.unwrap();
    let mut points = following(0.0, 4.0);
    points.extend(growing("sign_errors", 4.0));
    idle.store(&db, &points).await;
    let health = idle.health(&replica).await.unwrap();
    assert_eq!(health.state(), pb::health::State::Healthy);
    let idle = health.duty.unwrap();
    assert_eq!(
        (idle.state(), idle.done, idle.missed),
        (State::Delinquent, 0, 20)
    );
    assert!(idle.reason.starts_with("signer refused"), "{idle:?}");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_an_earlier_placement_did_is_no_duty_of_the_current_one(db: PgPool) {
    let replica = Replica::new(&db);
    let mut node = Node::new();
    put(&replica, validator(&node)).await.unwrap();
    node.store(&db, &following(4.0, 0.0)).await;
    assert_eq!(duty(&node, &replica).await.state(), State::Earning);

    (node.placement, node.fence) = (PlacementId::generate(), node.fence + 1);
    put(&replica, validator(&node)).await.unwrap();
    let now = berth_core::now();
    let mut points = well();
    points.extend([point("active", now, 4.0), point("hits", now, 0.0)]);
    node.store(&db, &points).await;
    let moved = duty(&node, &replica).await;
    assert_eq!((moved.state(), moved.done), (State::Unknown, 0));
    assert_eq!(moved.reason, "not watched for long enough yet");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_node_whose_chain_tells_no_duty_has_none(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    node.store(&db, &following(4.0, 0.0)).await;
    assert_eq!(node.health(&replica).await.unwrap().duty, None);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn every_field_of_a_duty_is_checked_and_named(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::new();
    let wrong = pb::DutySigns {
        refused: "x".repeat(129),
        unready: "x".repeat(129),
        ..pb::DutySigns::default()
    };
    let request = pb::PutTargetRequest {
        duty: Some(wrong),
        ..node.target()
    };
    let status = put(&replica, request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let wanted = ["done", "missed", "in_set", "refused", "unready", "window"];
    let wanted: Vec<_> = wanted.iter().map(|field| format!("duty.{field}")).collect();
    assert_eq!(fields(&status), wanted);
}
