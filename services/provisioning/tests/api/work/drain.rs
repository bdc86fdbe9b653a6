//! A cordoned machine takes no new node, and who lends it sees what stands there.

use super::*;
use berth_core::AccountId;
use prost_types::Timestamp;

const END: Timestamp = Timestamp {
    seconds: 1_900_000_000,
    nanos: 0,
};

fn cordon(all: &Whole) {
    let mut known = all.world.known();
    known.machine.status.as_mut().unwrap().cordoned = true;
}

async fn launch_on(all: &Whole, name: &str, lease: &str) {
    let mut message = wish(name);
    message.spec.as_mut().unwrap().source = Some(pb::Source {
        lease_id: lease.to_owned(),
        ..pb::Source::default()
    });
    let request = from(all.account, message);
    all.api.launch_node(request).await.unwrap();
}

async fn listed(all: &Whole, viewer: AccountId, page: i32) -> Result<Vec<pb::MachineNode>, Status> {
    let mut nodes = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::ListMachineNodesRequest {
            machine_id: all.machine.to_string(),
            page_size: page,
            page_token,
        };
        let answer = all.api.list_machine_nodes(from(viewer, message)).await?;
        let answer = answer.into_inner();
        nodes.extend(answer.nodes);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_cordoned_machine_takes_no_second_node_of_a_lease_and_keeps_the_first(db: PgPool) {
    let all = Whole::new(db).await;
    let lease = all.world.add_lease(LeaseState::Active).to_string();
    launch_on(&all, "n1", &lease).await;
    all.until_state("n1", State::Running).await;
    cordon(&all);
    launch_on(&all, "n2", &lease).await;
    let node = all.until_state("n2", State::Failed).await;
    assert!(
        reason(&node).contains("machine scripted is cordoned and takes no new node"),
        "{}",
        reason(&node)
    );
    assert_eq!(fence(&node), 0);
    // What stood there goes on, and comes back after a stop and a failure.
    stop(&all).await;
    all.until_state("n1", State::Stopped).await;
    start(&all).await;
    all.until_state("n1", State::Running).await;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_that_got_a_cordoned_machine_gives_it_back_and_asks_for_another(db: PgPool) {
    let all = Whole::new(db).await;
    cordon(&all);
    launch(&all.api, all.account, "n1").await;
    let so = |node: &pb::Node| reason(node).contains("is cordoned");
    let node = all.until("n1", so).await;
    assert_eq!((state(&node), fence(&node)), (State::Placing, 0));
    assert_eq!(all.world.known().ended.len(), 1);
    all.world.known().machine.status.as_mut().unwrap().cordoned = false;
    all.until_state("n1", State::Running).await;
    assert_eq!(all.world.known().leases.len(), 2);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn who_lends_a_machine_sees_what_stands_there_and_of_others_no_names(db: PgPool) {
    let all = Whole::new(db).await;
    assert_eq!(listed(&all, all.account, 0).await.unwrap(), []);
    let lease = all.world.add_lease(LeaseState::Active).to_string();
    for lease in all.world.known().leases.values_mut() {
        lease.status.as_mut().unwrap().expire_time = Some(END);
    }
    for name in ["n1", "n2"] {
        launch_on(&all, name, &lease).await;
        all.site.standing().containers.clear();
        all.until_state(name, State::Running).await;
    }
    let own = listed(&all, all.account, 1).await.unwrap();
    let names: BTreeSet<&str> = own.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["n1", "n2"]));
    assert!(own.iter().all(|node| node.chain == "testchain"));

    let supplier = AccountId::generate();
    all.world.known().lender = Some(supplier);
    let nodes = listed(&all, supplier, 0).await.unwrap();
    let expected = pb::MachineNode {
        role: pb::Role::Full.into(),
        state: State::Running.into(),
        lease_expire_time: Some(END),
        ..pb::MachineNode::default()
    };
    assert_eq!(nodes, [expected.clone(), expected]);
    let stranger = listed(&all, all.account, 0).await.unwrap_err();
    assert_eq!(stranger.code(), Code::NotFound);
}
