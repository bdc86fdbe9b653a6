//! Finding a machine for a node.

use super::*;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_that_is_not_enough_fails_the_node_and_is_given_back(db: PgPool) {
    let all = Whole::new(db).await;
    let facts = inventory::Facts {
        cpu_cores: 1,
        memory_bytes: 8 << 30,
        ..Default::default()
    };
    all.world.known().machine.status.as_mut().unwrap().facts = Some(facts);
    launch(&all.api, all.account, "n1").await;
    let node = all.until_state("n1", State::Failed).await;
    assert!(
        reason(&node).contains("2 processors wanted, 1 there"),
        "{}",
        reason(&node)
    );
    assert_eq!(all.world.known().ended.len(), 1);
    assert_eq!(fence(&node), 0);

    let facts = inventory::Facts {
        cpu_cores: 2,
        memory_bytes: 8 << 30,
        ..Default::default()
    };
    all.world.known().machine.status.as_mut().unwrap().facts = Some(facts);
    retry(&all).await.unwrap();
    all.until_state("n1", State::Running).await;
    assert_eq!(all.world.known().leases.len(), 2);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn nodes_share_the_machine_of_a_lease_while_it_lasts(db: PgPool) {
    let all = Whole::new(db).await;
    let lease = all.world.add_lease(LeaseState::Active);
    for (name, ports) in [
        ("n1", "[26656]"),
        ("n2", "[26756]"),
        ("n3", "[26856]"),
        ("n4", "[26956]"),
    ] {
        let mut message = wish(name);
        message.spec.as_mut().unwrap().source = Some(pb::Source {
            lease_id: lease.to_string(),
            ..pb::Source::default()
        });
        all.api
            .launch_node(from(all.account, message))
            .await
            .unwrap();
        all.site.standing().containers.clear();
        all.until_state(name, State::Running).await;
        let firewall = format!("firewall {ports}");
        assert!(all.site.standing().log.contains(&firewall), "{name}");
    }
    let mut message = wish("n5");
    message.spec.as_mut().unwrap().source = Some(pb::Source {
        lease_id: lease.to_string(),
        ..pb::Source::default()
    });
    all.api
        .launch_node(from(all.account, message))
        .await
        .unwrap();
    let node = all.until_state("n5", State::Failed).await;
    assert!(
        reason(&node).contains("4000 thousandths of a core"),
        "{}",
        reason(&node)
    );
    assert!(all.world.known().ended.is_empty());
}
