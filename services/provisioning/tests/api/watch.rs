//! Watching a node.

use crate::support::{Alone, from, get, launch, names_field, request_id};
use berth_core::NodeId;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioning::domain::{Event, Step};
use berth_provisioning::store::{MIGRATIONS, events, nodes};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::PgPool;
use std::time::Duration;
use tonic::{Code, Status};

type Stream = BoxStream<'static, Result<pb::WatchNodeResponse, Status>>;

async fn watch(all: &Alone, node: &pb::Node, after_sequence: i64) -> Stream {
    let message = pb::WatchNodeRequest {
        node_id: node.id.clone(),
        after_sequence,
    };
    let answer = all.api.watch_node(from(all.account, message)).await;
    answer.unwrap().into_inner()
}

/// The next event; messages without one are passed over.
async fn next(stream: &mut Stream) -> pb::NodeEvent {
    let look = async {
        loop {
            let said = stream.next().await.expect("the stream goes on").unwrap();
            if let Some(event) = said.event {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look)
        .await
        .expect("an event")
}

async fn tell(all: &Alone, node: &pb::Node, message: &str) {
    let id: NodeId = node.id.parse().unwrap();
    let mut txn = all.api.db.begin().await.unwrap();
    let node = nodes::load(&mut txn, id).await.unwrap();
    events::append(&mut txn, &node, &Step::new("test", message))
        .await
        .unwrap();
    txn.commit().await.unwrap();
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_watch_tells_the_past_and_then_what_happens(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let mut stream = watch(&all, &node, 0).await;
    let first = next(&mut stream).await;
    assert_eq!((first.sequence, first.step.as_str()), (1, "state"));
    tell(&all, &node, "two").await;
    let second = next(&mut stream).await;
    assert_eq!((second.sequence, second.message.as_str()), (2, "two"));
    assert_eq!(second.percent, -1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_watch_goes_on_where_another_ended_without_a_gap(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let count = 250;
    for number in 2..=count {
        tell(&all, &node, &number.to_string()).await;
    }
    let mut seen = Vec::new();
    let mut after = 0;
    while after < count {
        let mut stream = watch(&all, &node, after).await;
        // Ends in the middle, more than once in the middle of a page.
        for _ in 0..70 {
            if after < count {
                after = next(&mut stream).await.sequence;
                seen.push(after);
            }
        }
    }
    assert_eq!(seen, (1..=count).collect::<Vec<_>>());
}

/// The sequence of the newest event, as the node says.
fn newest(node: &pb::Node) -> i64 {
    node.status.as_ref().unwrap().event_sequence
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_says_which_event_is_its_newest(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    assert_eq!(newest(&node), 1);
    tell(&all, &node, "two").await;
    let node = get(&all.api, all.account, "n1").await.unwrap();
    assert_eq!(newest(&node), 2);
    tell(&all, &node, "two").await;
    let list = pb::ListNodesRequest::default();
    let list = all.api.list_nodes(from(all.account, list)).await.unwrap();
    let listed = list.into_inner().nodes;
    assert_eq!(newest(&listed[0]), 2, "what was told already is no event");
    let mut stream = watch(&all, &node, 0).await;
    let told = stream.next().await.unwrap().unwrap();
    assert_eq!(told.event.unwrap().sequence, 1);
    assert_eq!(newest(&told.node.unwrap()), 2, "one more is to come");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_watch_from_the_newest_event_tells_only_what_follows(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    tell(&all, &node, "two").await;
    let before = newest(&get(&all.api, all.account, "n1").await.unwrap());
    let message = pb::RetireNodeRequest {
        request_id: request_id(),
        node_id: node.id.clone(),
    };
    let answer = all.api.retire_node(from(all.account, message)).await;
    let changed = answer.unwrap().into_inner().node.unwrap();
    assert_eq!(newest(&changed), before + 1);
    let mut stream = watch(&all, &node, before).await;
    let first = next(&mut stream).await;
    assert_eq!(
        (first.sequence, first.message.as_str()),
        (3, "RETIRING"),
        "the change is told and nothing before it"
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_watch_ends_when_the_node_is_retired(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let mut stream = watch(&all, &node, 0).await;
    next(&mut stream).await;
    let mut txn = all.api.db.begin().await.unwrap();
    let mut row = nodes::load(&mut txn, node.id.parse().unwrap())
        .await
        .unwrap();
    for event in [Event::Retire, Event::Vanish] {
        row = nodes::apply(&mut txn, &row, event, "").await.unwrap();
    }
    txn.commit().await.unwrap();
    assert_eq!(next(&mut stream).await.message, "RETIRING");
    let last = next(&mut stream).await;
    assert_eq!(last.state(), pb::node_status::State::Retired);
    assert!(stream.next().await.is_none());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_watch_ends_when_the_service_stops(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let mut stream = watch(&all, &node, 1).await;
    stream.next().await.unwrap().unwrap();
    all.api.stop.cancel();
    assert!(stream.next().await.is_none());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_watch_of_nothing_is_refused(db: PgPool) {
    let all = Alone::new(db).await;
    let ask = |node_id: &str, after_sequence| pb::WatchNodeRequest {
        node_id: node_id.to_owned(),
        after_sequence,
    };
    let refused = all
        .api
        .watch_node(from(all.account, ask("n1", 0)))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::NotFound);
    let refused = all
        .api
        .watch_node(from(all.account, ask("n1", -1)))
        .await
        .err()
        .unwrap();
    names_field(&refused, "after_sequence");
}
