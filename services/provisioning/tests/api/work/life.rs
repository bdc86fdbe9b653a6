//! Stopping, starting, retiring, and the end of a lease.

use super::*;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_stops_keeps_its_data_and_starts_under_the_next_fence(db: PgPool) {
    let all = running(db).await;
    stop(&all).await;
    all.until_state("n1", State::Stopped).await;
    {
        let standing = all.site.standing();
        assert!(
            standing
                .containers
                .iter()
                .all(|c| c.state == ContainerState::Exited)
        );
        assert_eq!(standing.volumes.len(), 1);
    }
    assert_eq!(
        all.world.known().target.as_ref().map(|t| t.running),
        Some(false)
    );
    let older = all.node("n1").await.status.unwrap().placement.unwrap();
    start(&all).await;
    let node = all.node("n1").await;
    assert_eq!((state(&node), fence(&node)), (State::Launching, 2));
    all.until_state("n1", State::Running).await;
    let standing = all.site.standing();
    assert!(standing.containers.iter().all(|c| c.fence == 2));
    let kept = |(path, _, _): &(String, u32, Vec<u8>)| path.contains(&older.id);
    assert!(!standing.files.iter().any(kept), "its old secrets are gone");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn new_settings_restart_a_running_node_under_the_next_fence(db: PgPool) {
    let all = running(db).await;
    let message = pb::UpdateNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
        spec: Some(pb::NodeSpec {
            settings: [("moniker".to_owned(), "m2".to_owned())].into(),
            ..pb::NodeSpec::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["settings".to_owned()],
        }),
        etag: String::new(),
    };
    all.api
        .update_node(from(all.account, message))
        .await
        .unwrap();
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(fence(&node), 2);
    let standing = all.site.standing();
    let config = standing
        .files
        .iter()
        .find(|(path, _, _)| path.ends_with("config.toml"));
    assert!(String::from_utf8_lossy(&config.unwrap().2).contains("m2"));
    assert!(standing.log.contains(&"stop node".to_owned()));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_retired_node_leaves_nothing_behind(db: PgPool) {
    let all = running(db).await;
    let id = all.node("n1").await.id;
    retire(&all).await;
    let node = all.until_state("n1", State::Retired).await;
    let status = node.status.unwrap();
    assert!(status.components.is_empty(), "{:?}", status.components);
    assert_eq!(status.health(), pb::node_status::Health::Unknown);
    assert_eq!(
        status.placement.unwrap().state(),
        pb::placement::State::Wiped
    );
    assert!(all.site.standing().containers.is_empty());
    assert_eq!(all.world.known().ended.len(), 1);
    assert!(all.world.known().target.is_none());
    let key = berth_secrets::SecretPath::node(&id, "node-key").unwrap();
    assert!(all.context.vault.read_secret(&key).await.unwrap().is_none());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_out_of_reach_keeps_a_node_retiring_while_its_lease_lasts(db: PgPool) {
    let all = running(db).await;
    all.site.standing().fault = Some(unreachable);
    retire(&all).await;
    let node = all
        .until("n1", |node| reason(node).contains("cannot be reached"))
        .await;
    assert_eq!(state(&node), State::Retiring);
    all.world.end_leases(CloseReason::Expired);
    let node = all.until_state("n1", State::Retired).await;
    let placement = node.status.unwrap().placement.unwrap();
    assert_eq!(placement.state(), pb::placement::State::Abandoned);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_whose_answer_never_came_is_found_and_given_back(db: PgPool) {
    let all = Whole::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    all.world.known().refuse = Some(Status::new(Code::Unavailable, "as scripted"));
    all.until("n1", |node| {
        reason(node).contains("leasing does not answer")
    })
    .await;
    all.world.known().refuse = None;
    retire(&all).await;
    all.until_state("n1", State::Retired).await;
    let known = all.world.known();
    assert_eq!(
        (known.leases.len(), known.ended.len()),
        (1, 1),
        "{}",
        node.id
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_ends_fences_and_fails_its_node(db: PgPool) {
    let all = running(db).await;
    all.world.end_leases(CloseReason::InsufficientFunds);
    let node = all.until_state("n1", State::Failed).await;
    assert!(
        reason(&node).starts_with("lease ended: "),
        "{}",
        reason(&node)
    );
    let status = node.status.unwrap();
    assert_eq!(
        status.placement.unwrap().state(),
        pb::placement::State::Fenced
    );
    assert_eq!(status.lease_id, "");

    all.site.standing().containers.clear();
    retry(&all).await.unwrap();
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(fence(&node), 2);
    assert_eq!(all.world.known().leases.len(), 2);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_ends_fences_its_node_also_without_vault(db: PgPool) {
    let mut all = running(db).await;
    all.stop_bao().await;
    all.world.end_leases(CloseReason::Expired);
    let node = all.until_state("n1", State::Failed).await;
    let why = "lease ended: its time was up";
    assert!(reason(&node).starts_with(why), "{}", reason(&node));
    let placement = node.status.unwrap().placement.unwrap();
    assert_eq!(placement.state(), pb::placement::State::Fenced);
    // What is kept in Vault goes when it is back.
    retire(&all).await;
    all.until("n1", |node| reason(node).contains("Vault")).await;
    all.start_bao().await;
    let node = all.until_state("n1", State::Retired).await;
    let key = berth_secrets::SecretPath::node(&node.id, "node-key").unwrap();
    assert!(all.context.vault.read_secret(&key).await.unwrap().is_none());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_warns_before_its_lease_ends(db: PgPool) {
    let all = running(db).await;
    let soon = berth_core::now() + chrono::TimeDelta::minutes(10);
    for lease in all.world.known().leases.values_mut() {
        let end = berth_runtime::wire::timestamp(soon);
        lease.status.as_mut().unwrap().expire_time = Some(end);
    }
    let node = all
        .until("n1", |node| reason(node).contains("lease ends at"))
        .await;
    assert_eq!(state(&node), State::Running);
}
