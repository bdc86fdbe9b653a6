//! Launching and running: from a placement to a node that answers.

use super::*;
use std::sync::Arc;
use tokio::sync::Notify;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_goes_from_a_wish_to_running_with_every_step_told(db: PgPool) {
    let all = running(db).await;
    let node = all.node("n1").await;
    let status = node.status.as_ref().unwrap();
    assert_eq!(status.health(), pb::node_status::Health::Healthy);
    assert_eq!((fence(&node), node.reconciling), (1, false));
    assert_eq!(status.components.len(), 2);

    let told = steps(&all).await;
    let mut order = told.iter();
    for step in [
        "state accepted",
        "state PLACING",
        "lease asking",
        "gates ",
        "place ",
        "state LAUNCHING",
        "connect ",
        "prepare ",
        "image ",
        "secrets ",
        "files ",
        "network ",
        "firewall ",
        "containers starting berth-",
        "agent ",
        "answer ",
        "state RUNNING",
    ] {
        assert!(
            order.any(|told| told.starts_with(step)),
            "{step} in {told:#?}"
        );
    }
    let standing = all.site.standing();
    assert!(standing.containers.iter().all(|c| c.fence == 1));
    let key = standing
        .files
        .iter()
        .find(|(path, _, _)| path.ends_with("node_key.json"));
    assert_eq!(key.unwrap().1, 0o400);
    let target = all.world.known().target.clone().unwrap();
    assert_eq!((target.fence, target.running), (1, true));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_comes_back_by_itself_is_waited_for_with_a_reason(db: PgPool) {
    let all = Whole::new(db).await;
    all.world.known().refuse = Some(Status::new(Code::ResourceExhausted, "no free machine fits"));
    launch(&all.api, all.account, "n1").await;
    let waits = |why: &'static str| move |node: &pb::Node| reason(node).contains(why);
    all.until("n1", waits("no free machine fits")).await;

    all.world.known().refuse = None;
    all.world.known().new_lease = LeaseState::Pending;
    all.until("n1", waits("waiting for the lease")).await;

    for lease in all.world.known().leases.values_mut() {
        lease.status.as_mut().unwrap().set_state(LeaseState::Active);
    }
    all.site.standing().fault = Some(unreachable);
    let node = all
        .until("n1", waits("192.0.2.7:22 cannot be reached"))
        .await;
    assert_eq!(state(&node), State::Launching);

    all.site.standing().fault = None;
    all.world.known().health = HealthState::Unknown;
    all.until("n1", waits("as scripted")).await;
    all.world.known().health = HealthState::Syncing;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(reason(&node), "");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_without_space_is_waited_for_until_its_owner_makes_room(db: PgPool) {
    let all = Whole::new(db).await;
    launch(&all.api, all.account, "n1").await;
    all.until_state("n1", State::Launching).await;
    all.site.standing().fault = Some(full);
    let no_space = |node: &pb::Node| reason(node).contains("no space left");
    let node = all.until("n1", no_space).await;
    assert_eq!(state(&node), State::Launching);
    all.site.standing().fault = None;
    all.until_state("n1", State::Running).await;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_image_that_no_source_has_is_waited_for(db: PgPool) {
    let all = Whole::new(db).await;
    let absent = || SiteError::NoImage {
        image: "berth/test:1".to_owned(),
        why: "registry.test: connection refused".to_owned(),
    };
    all.site.standing().refuses = Some(("image berth/test", absent));
    launch(&all.api, all.account, "n1").await;
    let waits = |node: &pb::Node| reason(node).contains("berth/test:1 cannot be delivered");
    let node = all.until("n1", waits).await;
    assert_eq!((state(&node), node.reconciling), (State::Launching, true));
    let why = reason(&node);
    assert!(why.contains("registry.test: connection refused"), "{why}");
    assert!(all.site.standing().containers.is_empty());
    all.site.standing().refuses = None;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((reason(&node), fence(&node)), ("", 1));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_image_with_another_digest_fails_the_launch_until_it_is_tried_again(db: PgPool) {
    let all = Whole::new(db).await;
    let wrong = || SiteError::DigestMismatch {
        what: "berth/test:1".to_owned(),
        expected: "sha256:1".to_owned(),
        seen: "sha256:4".to_owned(),
    };
    all.site.standing().refuses = Some(("image berth/test", wrong));
    launch(&all.api, all.account, "n1").await;
    let node = all.until_state("n1", State::Failed).await;
    let why = reason(&node);
    assert!(why.contains("has digest sha256:4, not sha256:1"), "{why}");
    assert!(all.site.standing().containers.is_empty());
    assert_eq!(all.world.known().problems.len(), 0);
    all.site.standing().refuses = None;
    retry(&all).await.unwrap();
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(reason(&node), "");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_vault_that_is_away_pauses_a_launch_and_loses_nothing(db: PgPool) {
    let mut all = Whole::new(db).await;
    launch(&all.api, all.account, "n1").await;
    all.until_state("n1", State::Launching).await;
    all.stop_bao().await;
    let node = all.until("n1", |node| reason(node).contains("Vault")).await;
    assert_eq!(state(&node), State::Launching);
    all.start_bao().await;
    all.until_state("n1", State::Running).await;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_changed_host_key_fails_the_node_and_is_reported(db: PgPool) {
    let all = running(db).await;
    all.site.standing().fault = Some(stranger);
    let node = all.until_state("n1", State::Failed).await;
    assert!(reason(&node).contains("host key changed"));
    assert_eq!(all.world.known().problems.len(), 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_with_a_newer_placement_is_left_alone(db: PgPool) {
    let all = running(db).await;
    for container in &mut all.site.standing().containers {
        container.fence = 9;
    }
    let done = all.site.standing().log.len();
    let node = all.until_state("n1", State::Failed).await;
    assert!(reason(&node).contains("under fence 9"), "{}", reason(&node));
    assert_eq!(all.site.standing().log.len(), done);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_container_that_fell_is_started_again_under_the_same_fence(db: PgPool) {
    let all = running(db).await;
    {
        let mut standing = all.site.standing();
        standing.containers[0].state = ContainerState::Exited;
        // A reboot empties the machine's memory.
        standing
            .files
            .retain(|(path, _, _)| !path.starts_with("/run"));
        standing.log.clear();
    }
    let node = all.node("n1").await;
    all.step(&node).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(fence(&node), 1);
    let done = all.site.standing().log.join(", ");
    assert_eq!(
        done,
        "secrets, firewall [26656], start node, exec csr, exec install-certificate"
    );
    assert!(
        steps(&all)
            .await
            .iter()
            .any(|step| step.starts_with("state DEGRADED"))
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_that_says_it_is_ill_is_degraded_until_it_is_well(db: PgPool) {
    let all = running(db).await;
    all.world.known().health = HealthState::Down;
    let node = all.until_state("n1", State::Degraded).await;
    assert_eq!(reason(&node), "as scripted");
    // Out of sight is not out of order.
    all.world.known().health = HealthState::Healthy;
    all.site.standing().fault = Some(unreachable);
    let node = all.until_state("n1", State::Running).await;
    all.step(&node).await;
    let node = all.node("n1").await;
    assert!(
        reason(&node).contains("cannot be reached"),
        "{}",
        reason(&node)
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_shows_its_duty_and_tells_of_each_change(db: PgPool) {
    use berth_proto::monitoring::v1::{Duty, duty::State as Told};
    use pb::node_status::Duty as Shown;
    let all = running(db).await;
    let shown = |node: &pb::Node| node.status.as_ref().unwrap().duty();
    assert_eq!(shown(&all.node("n1").await), Shown::Unknown);
    let target = all.world.known().target.clone().unwrap();
    assert_eq!(target.duty, None, "a full node has no duty");

    for (told, why, wanted) in [
        (Told::Earning, "", Shown::Earning),
        (Told::Delinquent, "signer refused", Shown::Delinquent),
    ] {
        let duty = Duty {
            state: told.into(),
            reason: why.to_owned(),
            ..Duty::default()
        };
        all.world.known().duty = Some(duty);
        let node = all.until("n1", |node| shown(node) == wanted).await;
        assert_eq!(node.status.unwrap().duty_reason, why);
    }
    let told = steps(&all).await;
    let duty: Vec<_> = told
        .iter()
        .filter(|step| step.starts_with("duty"))
        .collect();
    assert_eq!(duty, ["duty earning", "duty delinquent: signer refused"]);

    stop(&all).await;
    let node = all.until_state("n1", State::Stopped).await;
    assert_eq!(shown(&node), Shown::Unknown);
    assert_eq!(node.status.unwrap().duty_reason, "");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_worker_paused_past_its_claim_cannot_write(db: PgPool) {
    let all = Whole::new(db).await;
    launch(&all.api, all.account, "n1").await;
    let node = all.until_state("n1", State::Launching).await;
    let gate = Arc::new(Notify::new());
    all.site.standing().gate = Some(Arc::clone(&gate));
    let others = async {
        // The first worker is in the middle of its step, and its claim runs out.
        while all.site.standing().gate.is_some() {
            tokio::task::yield_now().await;
        }
        expire_claims(&all).await;
        let running = all.until_state("n1", State::Running).await;
        let told = steps(&all).await;
        gate.notify_one();
        (running, told)
    };
    let (first, (running, told)) = tokio::join!(all.worker.turn(), others);
    assert!(first.unwrap());
    assert_eq!(steps(&all).await, told, "the paused worker told nothing");
    let after = all.node("n1").await;
    assert_eq!((state(&after), after.etag), (State::Running, running.etag));
    assert_eq!(fence(&all.node("n1").await), 1, "{}", node.id);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_log_of_a_running_node_is_streamed(db: PgPool) {
    let all = running(db).await;
    let ask = |component: &str, follow| pb::StreamNodeLogsRequest {
        node_id: "n1".to_owned(),
        component: component.to_owned(),
        tail: 2,
        follow,
        since: None,
    };
    let lines = all
        .api
        .stream_node_logs(from(all.account, ask("", false)))
        .await
        .unwrap();
    let lines: Vec<_> = lines
        .into_inner()
        .map(|line| line.unwrap().line)
        .collect()
        .await;
    assert_eq!(lines, ["line 1 of node", "line 2 of node"]);
    let since = pb::StreamNodeLogsRequest {
        tail: 0,
        since: Some(prost_types::Timestamp {
            seconds: 2,
            nanos: 1,
        }),
        ..ask("", false)
    };
    let since = from(all.account, since);
    let lines = all.api.stream_node_logs(since).await.unwrap();
    let lines = lines.into_inner().map(Result::unwrap);
    let lines: Vec<_> = lines
        .map(|line| (line.line, line.time.unwrap().nanos))
        .collect()
        .await;
    assert_eq!(
        lines,
        [
            ("line 2 of node".to_owned(), 1),
            ("line 3 of node".to_owned(), 1)
        ]
    );
    let refused = all
        .api
        .stream_node_logs(from(all.account, ask("none", false)))
        .await;
    assert_eq!(refused.err().unwrap().code(), Code::FailedPrecondition);
    let follow = all
        .api
        .stream_node_logs(from(all.account, ask("agent", true)))
        .await
        .unwrap();
    let mut follow = follow.into_inner();
    assert_eq!(
        follow.next().await.unwrap().unwrap().line,
        "line 1 of agent"
    );
    follow.next().await.unwrap().unwrap();
    all.api.stop.cancel();
    assert!(follow.next().await.is_none());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_setup_command_trusts_the_authority_in_vault(db: PgPool) {
    let all = Whole::new(db).await;
    let message = pb::GetMachineSetupRequest {
        machine_id: all.machine.to_string(),
        user: String::new(),
    };
    let setup = all
        .api
        .get_machine_setup(from(all.account, message))
        .await
        .unwrap();
    let authority = all.context.vault.ssh_ca_public_key().await.unwrap();
    let key = authority.split(' ').nth(1).unwrap();
    assert!(setup.into_inner().command.contains(key));
}

/// Ends every claim, as a long pause would.
async fn expire_claims(all: &Whole) {
    sqlx::raw_sql("update work set claimed_until = now() - interval '1 second'")
        .execute(&all.api.db)
        .await
        .unwrap();
}
