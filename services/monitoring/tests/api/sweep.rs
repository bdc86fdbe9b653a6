//! Forgetting: samples that are old, and series that are sent no more.

use crate::fixture::{Node, Replica, point};
use berth_monitoring::reconcile;
use chrono::TimeDelta;
use sqlx::PgPool;

async fn count(db: &PgPool, table: &str) -> i64 {
    let counts: (i64, i64) =
        sqlx::query_as("select (select count(*) from series), (select count(*) from sample)")
            .fetch_one(db)
            .await
            .unwrap();
    if table == "series" {
        counts.0
    } else {
        counts.1
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn samples_of_six_hours_are_kept(db: PgPool) {
    let node = Node::known(&Replica::new(&db)).await;
    let now = berth_core::now();
    let ages = [
        TimeDelta::minutes(361),
        TimeDelta::minutes(359),
        TimeDelta::zero(),
    ];
    let points = ages.map(|age| point("x", now - age, 1.0));
    node.store(&db, &points).await;
    reconcile::wake(&db).await.unwrap();
    assert!(reconcile::reconciler(db.clone()).turn().await.unwrap());
    assert_eq!(count(&db, "sample").await, 2);
    let waiting: String = sqlx::query_scalar("select reason from work")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(waiting, "swept");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn much_is_forgotten_in_several_steps(db: PgPool) {
    let node = Node::known(&Replica::new(&db)).await;
    let now = berth_core::now();
    node.store(&db, &[point("x", now, 1.0)]).await;
    sqlx::query(
        "insert into sample (series_id, time, value)
         select id, now() - make_interval(days => 1, secs => n), n
         from series, generate_series(1, 30000) n",
    )
    .execute(&db)
    .await
    .unwrap();
    reconcile::wake(&db).await.unwrap();
    let sweep = reconcile::reconciler(db.clone());
    assert!(sweep.turn().await.unwrap());
    assert_eq!(count(&db, "sample").await, 10_001);
    assert!(sweep.turn().await.unwrap());
    assert_eq!(count(&db, "sample").await, 1);
    assert!(!sweep.turn().await.unwrap(), "it waits a minute now");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn series_that_are_sent_no_more_make_room_and_a_silent_node_keeps_its_own(db: PgPool) {
    let replica = Replica::new(&db);
    let (upgraded, silent) = (Node::known(&replica).await, Node::known(&replica).await);
    let now = berth_core::now();
    let long_ago = now - TimeDelta::hours(7);
    silent.store(&db, &[point("x", long_ago, 1.0)]).await;
    upgraded
        .store(&db, &[point("old", long_ago, 1.0), point("new", now, 1.0)])
        .await;
    reconcile::wake(&db).await.unwrap();
    assert!(reconcile::reconciler(db.clone()).turn().await.unwrap());
    assert_eq!(count(&db, "series").await, 2);
    let health = silent.health(&replica).await.unwrap();
    assert!(health.reasons[0].contains("no signal for 25"), "{health:?}");
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn of_two_replicas_one_sweeps(db: PgPool) {
    // Each replica asks for it when it starts.
    reconcile::wake(&db).await.unwrap();
    reconcile::wake(&db).await.unwrap();
    let (one, other) = (
        reconcile::reconciler(db.clone()),
        reconcile::reconciler(db.clone()),
    );
    let (one, other) = tokio::join!(one.turn(), other.turn());
    assert_ne!(one.unwrap(), other.unwrap());
}
