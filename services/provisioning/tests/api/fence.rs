//! The fence, as the database holds it.

use crate::support::{Alone, launch};
use berth_core::{Error, Fence, LeaseId, MachineId, NodeId};
use berth_provisioning::domain::{Node, PlacementEvent, PlacementState, Share};
use berth_provisioning::store::placements::{self, Place};
use berth_provisioning::store::{MIGRATIONS, nodes};
use sqlx::PgPool;
use tokio::task::JoinSet;

fn place() -> Place {
    Place {
        machine_id: MachineId::generate(),
        lease_id: LeaseId::generate(),
        share: Share::default(),
        port_offset: 0,
    }
}

async fn node(db: &PgPool) -> Node {
    let all = Alone::new(db.clone()).await;
    let id: NodeId = launch(&all.api, all.account, "n1")
        .await
        .id
        .parse()
        .unwrap();
    nodes::load(&mut db.acquire().await.unwrap(), id)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn many_placers_at_once_leave_one_current_placement(db: PgPool) {
    let node = node(&db).await;
    let mut placers = JoinSet::new();
    for _ in 0..8 {
        let (db, node) = (db.clone(), node.clone());
        placers.spawn(async move {
            let mut txn = db.begin().await.unwrap();
            let placed = placements::advance(&mut txn, &node, &place()).await;
            if placed.is_ok() {
                txn.commit().await.unwrap();
            }
            placed
        });
    }
    let mut made = Vec::new();
    while let Some(placed) = placers.join_next().await {
        match placed.unwrap() {
            Ok(placement) => made.push(placement.fence),
            Err(Error::Conflict { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let mut conn = db.acquire().await.unwrap();
    let current = placements::current(&mut conn, node.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(Some(&current.fence), made.iter().max());
    let all = placements::unwiped(&mut conn, node.id).await.unwrap();
    let is_current =
        |p: &&berth_provisioning::domain::Placement| p.state == PlacementState::Current;
    assert_eq!(all.iter().filter(is_current).count(), 1);
    assert_eq!(all.len(), made.len());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn each_placement_of_a_node_has_a_higher_fence(db: PgPool) {
    let node = node(&db).await;
    let mut conn = db.acquire().await.unwrap();
    let mut last = Fence::NONE;
    for _ in 0..3 {
        let placement = placements::advance(&mut conn, &node, &place())
            .await
            .unwrap();
        assert_eq!(placement.fence, last.next());
        last = placement.fence;
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_fenced_placement_never_comes_back_or_vanishes(db: PgPool) {
    let node = node(&db).await;
    let mut conn = db.acquire().await.unwrap();
    let old = placements::advance(&mut conn, &node, &place())
        .await
        .unwrap();
    placements::fence(&mut conn, node.id).await.unwrap();
    for broken in [
        "update placement set state = 'current'",
        "update placement set fence = fence + 1",
        "update placement set machine_id = gen_random_uuid()",
        "delete from placement",
        "insert into placement select gen_random_uuid(), node_id, machine_id, lease_id, fence,
             'fenced', 0, 0, 0, '{}', 0 from placement",
    ] {
        assert!(
            sqlx::raw_sql(broken).execute(&mut *conn).await.is_err(),
            "{broken}"
        );
    }
    let old = placements::get(&mut conn, old.id).await.unwrap();
    assert_eq!(old.state, PlacementState::Fenced);
    assert!(old.fence_time.is_some());
    placements::apply(&mut conn, &old, PlacementEvent::Wipe)
        .await
        .unwrap();
}
