//! Exports of several nodes that are stored together.

use crate::eventually::eventually;
use crate::fixture::{Node, Replica, point, put, reason, well};
use crate::listeners::{Listeners, gauges, healthy, metrics};
use berth_core::{Error, Fence, PlacementId};
use berth_monitoring::domain::Speaker;
use berth_monitoring::otlp::Point;
use berth_monitoring::store::CHANNEL;
use berth_monitoring::store::exports::{self, LeftOut, MAX_SERIES, Sent};
use berth_monitoring::store::targets::Locked;
use sqlx::postgres::PgListener;
use sqlx::{PgPool, Postgres, Transaction};
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::Code;

fn sent(node: &Node, points: Vec<Point>) -> Sent {
    let speaker = Speaker {
        node_id: node.id,
        placement_id: node.placement,
        fence: Fence::from(node.fence),
    };
    Sent { speaker, points }
}

async fn series(db: &PgPool, node: &Node) -> i64 {
    sqlx::query_scalar("select count(*) from series where node_id = $1")
        .bind(node.id)
        .fetch_one(db)
        .await
        .unwrap()
}

/// Holds the targets of nodes, so that what is to be stored for them waits.
async fn hold(db: &PgPool, nodes: &[&Node]) -> Transaction<'static, Postgres> {
    let mut held = db.begin().await.unwrap();
    for node in nodes {
        sqlx::query("select from target where node_id = $1 for update")
            .bind(node.id)
            .execute(&mut *held)
            .await
            .unwrap();
    }
    held
}

/// Waits until so many sessions wait for a lock.
async fn waiting(db: &PgPool, sessions: i64) {
    eventually("they wait for a lock", async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(db)
        .await
        .unwrap();
        (waiting == sessions).then_some(())
    })
    .await;
}

type Answers = Vec<Result<Vec<LeftOut>, Error>>;

/// Stores them, and waits for nobody.
fn storing<const N: usize>(db: &PgPool, all: [Sent; N]) -> JoinSet<Answers> {
    let (db, mut storing) = (db.clone(), JoinSet::new());
    storing.spawn(async move { store(&db, &all).await });
    storing
}

/// Stores them, and waits for whoever has locked a target.
async fn store(db: &PgPool, all: &[Sent]) -> Answers {
    let all: Vec<_> = all.iter().collect();
    let answers = exports::store(db, &all, Locked::Wait).await.unwrap();
    answers.into_iter().map(Option::unwrap).collect()
}

async fn finished<T: 'static>(mut task: JoinSet<T>) -> T {
    task.join_next().await.unwrap().unwrap()
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn each_of_several_exports_has_its_own_answer(db: PgPool) {
    let replica = Replica::new(&db);
    let (one, other) = (Node::known(&replica).await, Node::known(&replica).await);
    let (full, silent) = (Node::known(&replica).await, Node::known(&replica).await);
    let stale = Node::known(&replica).await;
    let now = berth_core::now();
    let many = |count: usize| {
        let names = (0..count).map(|number| format!("app_{number:03}"));
        names.map(|name| point(&name, now, 1.0)).collect::<Vec<_>>()
    };
    one.store(&db, &many(150)).await;
    let mut bomb = many(250);
    bomb.push(point("berth.node.up", now, 1.0));
    let all = [
        sent(&one, many(210)),
        sent(&Node { fence: 2, ..stale }, well()),
        sent(&full, bomb),
        sent(&Node::new(), well()),
        sent(&silent, Vec::new()),
        sent(&other, well()),
    ];
    let answers: Vec<_> = store(&db, &all)
        .await
        .into_iter()
        .map(|answer| match answer {
            Ok(left_out) => {
                let names = left_out.into_iter().map(|series| series.name);
                Ok(names.collect::<Vec<_>>())
            }
            Err(Error::Precondition { reason, .. }) => Err(reason),
            Err(error) => panic!("{error}"),
        })
        .collect();
    let names = |from: usize, to: usize| (from..to).map(|number| format!("app_{number:03}"));
    let expected = [
        Ok(names(200, 210).collect()),
        Err("FENCED"),
        Ok(names(199, 250).collect()),
        Err("NOT_PLACED"),
        Ok(Vec::new()),
        Ok(Vec::new()),
    ];
    assert_eq!(answers, expected);
    for (node, count) in [
        (&one, MAX_SERIES),
        (&stale, 0),
        (&full, MAX_SERIES),
        (&silent, 0),
        (&other, 4),
    ] {
        assert_eq!(series(&db, node).await, count);
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_fence_that_moves_meanwhile_stops_its_own_export_alone(db: PgPool) {
    let replica = Replica::new(&db);
    let (moved, stays) = (Node::known(&replica).await, Node::known(&replica).await);
    let mut held = hold(&db, &[&moved]).await;
    sqlx::query("update target set fence = 4 where node_id = $1")
        .bind(moved.id)
        .execute(&mut *held)
        .await
        .unwrap();
    let both = [sent(&moved, well()), sent(&stays, well())];
    let stored = storing(&db, both);
    waiting(&db, 1).await;
    held.commit().await.unwrap();
    let answers = finished(stored).await;
    assert!(
        matches!(&answers[0], Err(Error::Precondition { reason, .. }) if *reason == "FENCED"),
        "{answers:?}"
    );
    assert_eq!(answers[1].as_ref().unwrap(), &[]);
    assert_eq!(
        (series(&db, &moved).await, series(&db, &stays).await),
        (0, 4)
    );

    // The other way round: the fence moves once the export is stored.
    let held = hold(&db, &[&stays]).await;
    let later = Node {
        fence: 4,
        placement: PlacementId::generate(),
        ..stays
    };
    let both = [sent(&stays, well())];
    let stored = storing(&db, both);
    waiting(&db, 1).await;
    let mut moving = JoinSet::new();
    moving.spawn(async move { put(&replica, later.target()).await });
    waiting(&db, 2).await;
    held.commit().await.unwrap();
    assert_eq!(finished(stored).await[0].as_ref().unwrap(), &[]);
    finished(moving).await.unwrap();
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_target_that_somebody_has_locked_holds_up_no_export_of_another_node(db: PgPool) {
    let replica = Replica::new(&db);
    let (stuck, well_off) = (Node::known(&replica).await, Node::known(&replica).await);
    let held = hold(&db, &[&stuck]).await;
    let all = [sent(&stuck, well()), sent(&well_off, well())];
    let all: Vec<_> = all.iter().collect();
    let answers = exports::store(&db, &all, Locked::PassOver).await.unwrap();
    assert!(answers[0].is_none(), "{answers:?}");
    assert!(matches!(&answers[1], Some(Ok(left_out)) if left_out.is_empty()));
    assert_eq!(series(&db, &well_off).await, 4);

    let failed = exports::store(&db, &all[..1], Locked::Wait).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    held.commit().await.unwrap();
    assert!(store(&db, &[sent(&stuck, well())]).await[0].is_ok());
    assert_eq!(series(&db, &stuck).await, 4);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn replicas_that_store_exports_of_the_same_nodes_at_once_do_not_stop_each_other(db: PgPool) {
    let replica = Replica::new(&db);
    let mut nodes = Vec::new();
    for _ in 0..40 {
        nodes.push(Node::known(&replica).await);
    }
    let mut storing = JoinSet::new();
    for turn in 0..8 {
        let mut batch: Vec<_> = nodes.iter().map(|node| sent(node, well())).collect();
        batch.rotate_left(turn * 5);
        let db = db.clone();
        storing.spawn(async move { store(&db, &batch).await });
    }
    let answers = storing.join_all().await;
    assert!(answers.iter().flatten().all(Result::is_ok));
    for node in &nodes {
        assert_eq!(series(&db, node).await, 4);
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_waits_is_stored_and_the_exports_of_a_node_follow_one_another(db: PgPool) {
    let site = Listeners::new(&db).await;
    let mut nodes = Vec::new();
    for _ in 0..8 {
        nodes.push(Node::known(&site.replica).await);
    }
    let held = hold(&db, &[&nodes[0], &nodes[1]]).await;
    let mut sending = JoinSet::new();
    let mut send = |node: &Node, values: Vec<(String, f64)>| {
        let mut agent = metrics(site.machine(node));
        let values: Vec<_> = values
            .iter()
            .map(|(n, value)| (n.as_str(), *value))
            .collect();
        let export = gauges(&values);
        sending.spawn(async move {
            let answer = agent.export(export).await.unwrap().into_inner();
            answer
                .partial_success
                .map_or(0, |partial| partial.rejected_data_points)
        });
    };
    let names = |turn: usize| (0..150).map(move |number| (format!("x_{turn}_{number}"), 1.0));
    // Both that are stored at once wait, and the others behind them.
    send(&nodes[0], vec![("x".to_owned(), 1.0)]);
    waiting(&db, 1).await;
    send(&nodes[1], vec![("x".to_owned(), 1.0)]);
    waiting(&db, 2).await;
    for node in &nodes {
        for turn in 0..2 {
            send(node, names(turn).collect());
        }
    }
    held.commit().await.unwrap();
    // Of 300 series of each node 200 find room, and one more of two nodes came first.
    let rejected: i64 = sending.join_all().await.iter().sum();
    assert_eq!(rejected, 8 * 100 + 2);
    for node in &nodes {
        assert_eq!(series(&db, node).await, MAX_SERIES);
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn an_export_that_cannot_be_stored_fails_alone(db: PgPool) {
    let site = Listeners::new(&db).await;
    sqlx::raw_sql(
        "create sequence tries;
         create function refuse() returns trigger language plpgsql as $$
             begin
                 perform nextval('tries');
                 raise exception 'a defect';
             end $$;
         create trigger refuse before insert on series for each row
             when (new.name = 'poison') execute function refuse();",
    )
    .execute(&db)
    .await
    .unwrap();
    let mut nodes = Vec::new();
    for _ in 0..5 {
        nodes.push(Node::known(&site.replica).await);
    }
    // As often as it takes until the bad one was tried with others, and alone.
    let mut tries = 0_i64;
    eventually("they were tried together", async || {
        let held = hold(&db, &[&nodes[0], &nodes[1]]).await;
        let mut sending = JoinSet::new();
        for (at, node) in nodes.iter().enumerate() {
            let mut agent = metrics(site.machine(node));
            let export = if at == 2 {
                gauges(&[("poison", 1.0)])
            } else {
                healthy()
            };
            sending.spawn(async move { (at, agent.export(export).await) });
            if at < 2 {
                waiting(&db, i64::try_from(at + 1).unwrap()).await;
            }
        }
        held.commit().await.unwrap();
        for (at, answer) in sending.join_all().await {
            match (at, answer) {
                (2, Err(status)) => {
                    assert_eq!(status.code(), Code::Internal);
                    assert_eq!(reason(&status), "INTERNAL");
                }
                (2, Ok(_)) => panic!("it was stored"),
                (_, answer) => drop(answer.unwrap()),
            }
        }
        let before = tries;
        tries = sqlx::query_scalar("select last_value from tries")
            .fetch_one(&db)
            .await
            .unwrap();
        (tries - before > 1).then_some(())
    })
    .await;
    assert_eq!(
        (series(&db, &nodes[2]).await, series(&db, &nodes[4]).await),
        (0, 4)
    );
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn every_node_of_a_batch_is_announced(db: PgPool) {
    let replica = Replica::new(&db);
    let mut nodes = Vec::new();
    for _ in 0..200 {
        nodes.push(Node::known(&replica).await);
    }
    let mut listener = PgListener::connect_with(&db).await.unwrap();
    listener.listen(CHANNEL).await.unwrap();
    let all: Vec<_> = nodes.iter().map(|node| sent(node, well())).collect();
    store(&db, &all).await;
    let mut left: BTreeSet<_> = nodes.iter().map(|node| node.id.to_string()).collect();
    eventually("all are announced", async || {
        let notice = listener.recv().await.unwrap();
        for node in notice.payload().split(',') {
            assert!(left.remove(node), "{node}");
        }
        left.is_empty().then_some(())
    })
    .await;
}
