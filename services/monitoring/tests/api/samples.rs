//! The statement that stores the points of an export.

use crate::fixture::{Node, Replica, point};
use berth_core::{Fence, PlacementId};
use berth_monitoring::domain::Readings;
use berth_monitoring::store::exports::MAX_SERIES;
use berth_monitoring::store::samples;
use chrono::TimeDelta;
use sqlx::PgPool;

async fn newest(db: &PgPool, node: &Node) -> Readings {
    let mut conn = db.acquire().await.unwrap();
    let fence = Fence::from(node.fence);
    samples::newest(&mut conn, node.id, fence).await.unwrap()
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn the_newest_value_wins_whatever_comes_first(db: PgPool) {
    let node = Node::known(&Replica::new(&db)).await;
    let now = berth_core::now();
    let before = now - TimeDelta::minutes(1);
    node.store(&db, &[point("x", now, 2.0), point("x", before, 1.0)])
        .await;
    let earlier = now - TimeDelta::minutes(2);
    node.store(&db, &[point("x", earlier, 0.0)]).await;
    let readings = newest(&db, &node).await;
    assert_eq!(
        (readings.value("x"), readings.newest()),
        (Some(2.0), Some(now))
    );
    // The same export once more, because its answer was lost.
    node.store(&db, &[point("x", now, 2.0), point("x", before, 1.0)])
        .await;
    let kept: i64 = sqlx::query_scalar("select count(*) from sample")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(kept, 3);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_an_earlier_placement_said_is_not_read(db: PgPool) {
    let mut node = Node::known(&Replica::new(&db)).await;
    let now = berth_core::now();
    node.store(&db, &[point("x", now, 1.0), point("y", now, 1.0)])
        .await;
    (node.fence, node.placement) = (4, PlacementId::generate());
    // The clock of the new machine is behind that of the old.
    let behind = now - TimeDelta::minutes(5);
    node.store(&db, &[point("x", behind, 7.0)]).await;
    let readings = newest(&db, &node).await;
    assert_eq!(readings.value("x"), Some(7.0));
    assert_eq!(readings.value("y"), None);
    assert_eq!(readings.newest(), Some(behind));
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn one_export_cannot_fill_more_than_its_share_and_our_names_go_first(db: PgPool) {
    let node = Node::known(&Replica::new(&db)).await;
    let now = berth_core::now();
    let mut bomb: Vec<_> = (0..250)
        .map(|number| point(&format!("app_{number:03}"), now, 1.0))
        .collect();
    bomb.push(point("berth.node.up", now, 1.0));
    let left_out = node.store(&db, &bomb).await;
    assert_eq!(left_out.len(), 51);
    assert!(!left_out.contains(&"berth.node.up".to_owned()));
    assert_eq!(newest(&db, &node).await.0.len(), 200);

    // What is known stays known, and nothing new comes in.
    let left_out = node
        .store(&db, &[point("app_000", now, 5.0), point("new", now, 1.0)])
        .await;
    assert_eq!(left_out, ["new"]);
    let readings = newest(&db, &node).await;
    assert_eq!(readings.value("app_000"), Some(5.0));
    assert_eq!(i64::try_from(readings.0.len()), Ok(MAX_SERIES));
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn labels_tell_series_apart(db: PgPool) {
    let node = Node::known(&Replica::new(&db)).await;
    let now = berth_core::now();
    let mut two = [point("x", now, 1.0), point("x", now, 2.0)];
    two[1].labels = "volume=data".to_owned();
    node.store(&db, &two).await;
    let readings = newest(&db, &node).await;
    let values: Vec<_> = readings
        .all("x")
        .map(|reading| reading.last_value)
        .collect();
    assert_eq!(values, [1.0, 2.0]);
}
