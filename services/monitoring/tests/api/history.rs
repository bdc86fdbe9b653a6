//! Short history, for charts.

use crate::fixture::{Node, Replica, fields, point};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringService as _;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use prost::Message as _;
use prost_types::{Duration, Timestamp};
use sqlx::PgPool;
use tonic::Status;

fn stamp(time: DateTime<Utc>) -> Option<Timestamp> {
    Some(berth_runtime::wire::timestamp(time))
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

async fn query(
    replica: &Replica,
    node: &Node,
    query: pb::QuerySamplesRequest,
) -> Result<Vec<pb::Series>, Status> {
    let query = pb::QuerySamplesRequest {
        node_id: node.id.to_string(),
        ..query
    };
    let answer = replica.api.query_samples(node.request(query)).await?;
    Ok(answer.into_inner().series)
}

fn values(series: &pb::Series) -> Vec<f64> {
    series.samples.iter().map(|sample| sample.value).collect()
}

/// Ten minutes, one sample every 20 seconds: 0, 1, 2 … 29.
async fn ten_minutes(replica: &Replica) -> (Node, DateTime<Utc>) {
    let node = Node::known(replica).await;
    let start = berth_core::now()
        .duration_trunc(TimeDelta::minutes(1))
        .unwrap()
        - TimeDelta::minutes(10);
    let points: Vec<_> = (0..30)
        .map(|n| point("x", start + TimeDelta::seconds(20) * n, n.into()))
        .collect();
    node.store(&replica.db, &points).await;
    (node, start)
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_step_keeps_the_last_sample_of_each_interval(db: PgPool) {
    let replica = Replica::new(&db);
    let (node, start) = ten_minutes(&replica).await;
    let step = pb::QuerySamplesRequest {
        step: seconds(60),
        ..Default::default()
    };
    let series = query(&replica, &node, step).await.unwrap();
    let expected: Vec<f64> = (0..10).map(|n| f64::from(n * 3 + 2)).collect();
    assert_eq!(values(&series[0]), expected);
    let first = start + TimeDelta::seconds(40);
    assert_eq!(series[0].samples[0].time, stamp(first));
    assert_eq!(series[0].unit, "1");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn both_ends_belong_to_what_is_asked_for(db: PgPool) {
    let replica = Replica::new(&db);
    let (node, start) = ten_minutes(&replica).await;
    let between = pb::QuerySamplesRequest {
        start_time: stamp(start + TimeDelta::seconds(40)),
        end_time: stamp(start + TimeDelta::seconds(80)),
        ..Default::default()
    };
    let series = query(&replica, &node, between).await.unwrap();
    assert_eq!(values(&series[0]), [2.0, 3.0, 4.0]);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn without_times_the_last_hour_is_meant(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let now = berth_core::now();
    let ages = [
        TimeDelta::minutes(61),
        TimeDelta::minutes(59),
        TimeDelta::zero(),
    ];
    let points = ages.map(|age| point("x", now - age, 1.0));
    node.store(&db, &points).await;
    let series = query(&replica, &node, pb::QuerySamplesRequest::default())
        .await
        .unwrap();
    assert_eq!(series[0].samples.len(), 2);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn names_choose_and_labels_come_apart(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let now = berth_core::now();
    let mut disk = point("berth.disk.free", now, 7.0);
    disk.labels = "mount=,volume=data".to_owned();
    node.store(&db, &[disk, point("x", now, 1.0), point("y", now, 1.0)])
        .await;
    let two = pb::QuerySamplesRequest {
        names: vec!["x".to_owned(), "berth.disk.free".to_owned()],
        ..Default::default()
    };
    let series = query(&replica, &node, two).await.unwrap();
    let names: Vec<_> = series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["berth.disk.free", "x"]);
    assert_eq!(series[0].labels["volume"], "data");
    assert_eq!(series[0].labels["mount"], "");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn of_a_long_history_the_newest_thousand_samples_come(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let now = berth_core::now();
    let points: Vec<_> = (0..1500_i32)
        .map(|n| point("x", now - TimeDelta::seconds(n.into()), n.into()))
        .collect();
    node.store(&db, &points).await;
    let series = query(&replica, &node, pb::QuerySamplesRequest::default())
        .await
        .unwrap();
    let values = values(&series[0]);
    assert_eq!((values.len(), values[0], values[999]), (1000, 999.0, 0.0));
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_full_history_fits_into_one_message(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let now = berth_core::now();
    let label = |n| format!("{}={n}", "l".repeat(100));
    let full: Vec<_> = (0..200)
        .map(|n| {
            let mut point = point(&format!("x{n}"), now, 1.0);
            point.labels = (0..16).map(label).collect::<Vec<_>>().join(",");
            point
        })
        .collect();
    assert!(node.store(&db, &full).await.is_empty());
    sqlx::query(
        "insert into sample (series_id, time, value)
         select id, now() - make_interval(secs => n), n from series, generate_series(1, 1200) n",
    )
    .execute(&db)
    .await
    .unwrap();
    let series = query(&replica, &node, pb::QuerySamplesRequest::default())
        .await
        .unwrap();
    assert_eq!(series.len(), 200);
    assert!(series.iter().all(|series| series.samples.len() == 500));
    let answer = pb::QuerySamplesResponse { series };
    assert!(answer.encoded_len() < 4 << 20, "{}", answer.encoded_len());
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn every_field_of_a_query_is_checked_and_named(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let now = berth_core::now();
    let never = Some(Timestamp {
        seconds: 0,
        nanos: -1,
    });
    let wrong = [
        (
            "names",
            pb::QuerySamplesRequest {
                names: vec!["x".to_owned(); 101],
                ..Default::default()
            },
        ),
        (
            "start_time",
            pb::QuerySamplesRequest {
                start_time: never,
                ..Default::default()
            },
        ),
        (
            "start_time",
            pb::QuerySamplesRequest {
                start_time: stamp(now),
                end_time: stamp(now - TimeDelta::seconds(1)),
                ..Default::default()
            },
        ),
        (
            "end_time",
            pb::QuerySamplesRequest {
                end_time: never,
                ..Default::default()
            },
        ),
        (
            "step",
            pb::QuerySamplesRequest {
                step: seconds(0),
                ..Default::default()
            },
        ),
        (
            "step",
            pb::QuerySamplesRequest {
                step: seconds(6 * 3600 + 1),
                ..Default::default()
            },
        ),
    ];
    for (field, wrong) in wrong {
        let status = query(&replica, &node, wrong).await.unwrap_err();
        assert_eq!(fields(&status), [field]);
    }
}
