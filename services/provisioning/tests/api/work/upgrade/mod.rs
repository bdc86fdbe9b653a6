//! Upgrades: from one version of a chain to another, and back.

mod asked;
mod gate;

use super::*;
use crate::support::{CHAIN, names_field, register_text};
use pb::upgrade::State as Upgrading;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Version 2 of the chain, whose data version 1 can read.
fn second() -> String {
    let digest = "3".repeat(64);
    CHAIN
        .replace("version = \"1\"", "version = \"2\"")
        .replace(&"1".repeat(64), &digest)
        .replace("tag = \"1\"", "tag = \"2\"")
        + "\n[upgrade]\nrollback_to = [\"1\"]\n"
}

/// The same where version 1 cannot.
fn one_way() -> String {
    second().replace("[\"1\"]", "[]")
}

fn wish_for(version: &str) -> pb::UpgradeNodeRequest {
    pb::UpgradeNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
        version: version.to_owned(),
        ..pb::UpgradeNodeRequest::default()
    }
}

async fn send(
    all: &Whole,
    wish: pb::UpgradeNodeRequest,
) -> Result<pb::UpgradeNodeResponse, Status> {
    let answer = all.api.upgrade_node(from(all.account, wish)).await?;
    Ok(answer.into_inner())
}

async fn register(all: &Whole, text: &str) {
    register_text(&all.api, all.account, text).await.unwrap();
}

/// A node of version 1, and an upgrade of it to this entry that was asked for.
async fn upgrading(db: PgPool, text: &str) -> Whole {
    let all = running(db).await;
    register(&all, text).await;
    all.site.standing().log.clear();
    send(&all, wish_for("")).await.unwrap();
    all
}

fn upgrade(node: &pb::Node) -> pb::Upgrade {
    let status = node.status.clone().unwrap();
    status.upgrade.unwrap_or_default()
}

async fn until(all: &Whole, wanted: Upgrading) -> pb::Node {
    all.until("n1", |node| upgrade(node).state() == wanted)
        .await
}

/// Works until all of what was started stands and was looked at.
async fn deployed(all: &Whole) {
    let fence = fence(&all.node("n1").await);
    let stands = |all: &Whole| {
        let standing = all.site.standing();
        let agents = standing.containers.iter().filter(|c| c.fence == fence);
        agents.count() == 2
            && standing
                .files
                .iter()
                .any(|(path, _, _)| path.ends_with("pem"))
    };
    all.until("n1", |_| stands(all)).await;
    let node = all.node("n1").await;
    all.step(&node).await;
}

async fn sql(all: &Whole, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&all.api.db).await.unwrap();
}

/// The time that a step of the upgrade has is over.
async fn overdue(all: &Whole) {
    sql(all, "update node_upgrade set deadline = create_time").await;
}

/// What runs has been healthy for long.
async fn steady(all: &Whole) {
    sql(
        all,
        "update node_upgrade set steady_time = steady_time - interval '1 hour'",
    )
    .await;
}

/// Works until an upgrade ends well, or its way back does.
async fn ends(all: &Whole, wanted: Upgrading) -> pb::Node {
    for _ in 0..100 {
        let node = all.node("n1").await;
        if upgrade(&node).state() == wanted {
            return all.until_state("n1", State::Running).await;
        }
        all.step(&node).await;
        steady(all).await;
    }
    panic!("{:?}", all.node("n1").await);
}

fn version(node: &pb::Node) -> &str {
    &node.status.as_ref().unwrap().version
}

/// The images that stand, without the agent's.
fn images(all: &Whole) -> Vec<String> {
    let standing = all.site.standing();
    let nodes = standing.containers.iter().filter(|c| c.component == "node");
    nodes.map(|c| c.image.clone()).collect()
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_new_version_takes_over_on_the_same_data_with_every_step_told(db: PgPool) {
    let all = running(db).await;
    let volumes = all.site.standing().volumes.clone();
    register(&all, &second()).await;
    all.site.standing().log.clear();
    let answer = send(&all, wish_for("2")).await.unwrap().node.unwrap();
    assert_eq!((state(&answer), fence(&answer)), (State::Running, 1));
    assert!(answer.reconciling);
    assert_eq!(upgrade(&answer).state(), Upgrading::Pulling);
    assert_eq!(version(&answer), "1", "it runs on");

    let node = until(&all, Upgrading::Checking).await;
    assert_eq!((state(&node), fence(&node)), (State::Launching, 2));
    let brought = all.site.standing().log.join(", ");
    assert_eq!(brought, "image berth/agent, image berth/test");

    let node = ends(&all, Upgrading::Done).await;
    assert_eq!((version(&node), fence(&node)), ("2", 2));
    assert!(!node.reconciling);
    assert_eq!(
        (upgrade(&node).from_version.as_str(), reason(&node)),
        ("1", "")
    );
    assert_eq!(all.site.standing().volumes, volumes);
    assert_eq!(images(&all).len(), 1);
    assert!(images(&all)[0].contains("3333"), "{:?}", images(&all));
    let told = steps(&all).await;
    let mut order = told.iter();
    for step in [
        "state RUNNING",
        "upgrade to version 2: its images come first",
        "image berth/test:2 is there",
        "state LAUNCHING: version 2 takes the place of 1",
        "upgrade version 2 takes the place of 1 under fence 2",
        "containers stopping",
        "containers starting",
        "state RUNNING",
        "gate healthy, and has to stay so for 30 s",
        "upgrade version 2 runs and is healthy",
    ] {
        assert!(
            order.any(|told| told.starts_with(step)),
            "{step} in {told:#?}"
        );
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn images_that_do_not_come_leave_the_old_version_as_it_is(db: PgPool) {
    let all = upgrading(db, &second()).await;
    let absent = || SiteError::NoImage {
        image: "berth/test:2".to_owned(),
        why: "as scripted".to_owned(),
    };
    all.site.standing().refuses = Some(("image berth/test", absent));
    let waits = |node: &pb::Node| reason(node).contains("the images of version 2 are not there");
    let node = all.until("n1", waits).await;
    assert_eq!((state(&node), fence(&node)), (State::Running, 1));
    overdue(&all).await;
    let node = until(&all, Upgrading::GivenUp).await;
    let why = upgrade(&node).reason;
    assert!(why.ends_with("it has version 1"), "{why}");

    // What will not come right by itself is not tried again.
    let wrong = || SiteError::DigestMismatch {
        what: "berth/test:2".to_owned(),
        expected: "sha256:3".to_owned(),
        seen: "sha256:4".to_owned(),
    };
    all.site.standing().refuses = Some(("image berth/test", wrong));
    send(&all, wish_for("2")).await.unwrap();
    let node = until(&all, Upgrading::GivenUp).await;
    assert!(upgrade(&node).reason.contains("sha256:4"));
    let node = all.until("n1", |node| reason(node).is_empty()).await;
    assert_eq!((state(&node), fence(&node)), (State::Running, 1));
    let done = all.site.standing().log.clone();
    let harmless = |what: &String| what.starts_with("image") || what == "prune";
    assert!(done.iter().all(harmless), "{done:?}");
    assert!(done.iter().any(|what| what == "prune"), "{done:?}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_that_is_not_enough_for_a_version_keeps_the_old_one(db: PgPool) {
    let larger = second().replace("cpu_cores = 2", "cpu_cores = 64");
    let all = upgrading(db, &larger).await;
    let node = until(&all, Upgrading::GivenUp).await;
    let why = upgrade(&node).reason;
    assert!(why.contains("64 processors wanted, 4 there"), "{why}");
    assert_eq!((state(&node), version(&node)), (State::Running, "1"));
    let done = all.site.standing().log.clone();
    assert!(done.iter().all(|what| what == "prune"), "{done:?}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_image_that_a_machine_does_not_let_go_of_keeps_no_upgrade_from_its_end(db: PgPool) {
    let all = running(db).await;
    register(&all, &second()).await;
    let busy = || SiteError::Docker {
        what: "remove an image",
        status: Some(409),
        message: "as scripted".to_owned(),
    };
    all.site.standing().refuses = Some(("prune", busy));
    send(&all, wish_for("2")).await.unwrap();
    let node = ends(&all, Upgrading::Done).await;
    assert_eq!((state(&node), version(&node)), (State::Running, "2"));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_old_version_gets_its_own_time_to_stop(db: PgPool) {
    let all = running(db).await;
    let slow = |text: &str, seconds: u32| {
        let limit = format!("cpu_millis = 1000\nstop_timeout_s = {seconds}");
        text.replace("cpu_millis = 1000", &limit)
    };
    register(&all, &slow(&second(), 300)).await;
    send(&all, wish_for("2")).await.unwrap();
    ends(&all, Upgrading::Done).await;
    register(
        &all,
        &slow(&CHAIN.replace("version = \"1\"", "version = \"3\""), 5),
    )
    .await;
    send(&all, wish_for("3")).await.unwrap();
    ends(&all, Upgrading::Done).await;
    let given = all.site.standing().patience["node"];
    assert_eq!(given, Duration::from_secs(300));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_session_lost_before_any_action_of_an_upgrade_changes_nothing_of_its_end(db: PgPool) {
    let all = running(db).await;
    register(&all, &second()).await;
    all.site.standing().log.clear();
    send(&all, wish_for("2")).await.unwrap();
    ends(&all, Upgrading::Done).await;
    let count = all.site.standing().log.len();
    assert!(count > 10, "{count}");
    for lost in 0..count {
        let to = if lost % 2 == 0 { "1" } else { "2" };
        all.site.standing().lost_before = Some(lost);
        send(&all, wish_for(to)).await.unwrap();
        let node = ends(&all, Upgrading::Done).await;
        assert_eq!(version(&node), to, "lost before action {lost}");
        let standing = all.site.standing();
        let parts: BTreeSet<_> = standing.containers.iter().map(|c| &c.component).collect();
        assert_eq!((parts.len(), standing.containers.len()), (2, 2));
        let fence = fence(&node);
        assert!(standing.containers.iter().all(|c| c.fence == fence));
        assert_eq!((standing.networks.len(), standing.volumes.len()), (1, 1));
    }
    let current = fence(&all.node("n1").await);
    assert_eq!(current, 2 + u64::try_from(count).unwrap());
    assert_eq!(all.world.known().leases.len(), 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_worker_paused_in_any_phase_writes_nothing_after_its_claim(db: PgPool) {
    let all = running(db).await;
    register(&all, &second()).await;
    for (phase, to) in [(Upgrading::Pulling, "2"), (Upgrading::Checking, "1")] {
        send(&all, wish_for(to)).await.unwrap();
        until(&all, phase).await;
        let gate = Arc::new(Notify::new());
        all.site.standing().gate = Some(Arc::clone(&gate));
        let others = async {
            // The first worker is in the middle of its step, and its claim runs out.
            while all.site.standing().gate.is_some() {
                tokio::task::yield_now().await;
            }
            sql(
                &all,
                "update work set claimed_until = now() - interval '1 second'",
            )
            .await;
            let node = ends(&all, Upgrading::Done).await;
            let told = steps(&all).await;
            gate.notify_one();
            (node, told)
        };
        let (first, (node, told)) = tokio::join!(all.worker.turn(), others);
        assert!(first.unwrap());
        assert_eq!(steps(&all).await, told, "the paused worker told nothing");
        let after = all.node("n1").await;
        assert_eq!((fence(&after), &after.etag), (fence(&node), &node.etag));
        assert_eq!(version(&after), to);
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_owner_who_stops_or_retires_a_node_ends_its_upgrade(db: PgPool) {
    let all = upgrading(db, &second()).await;
    stop(&all).await;
    let node = all.until_state("n1", State::Stopped).await;
    assert_eq!(upgrade(&node).state(), Upgrading::GivenUp);
    assert_eq!(version(&node), "1");
    assert!(!node.reconciling);
    start(&all).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((version(&node), fence(&node)), ("1", 2));

    send(&all, wish_for("2")).await.unwrap();
    until(&all, Upgrading::Checking).await;
    stop(&all).await;
    let node = all.until_state("n1", State::Stopped).await;
    let why = upgrade(&node).reason;
    assert_eq!(why, "the node is STOPPING; it has version 2");
    start(&all).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((version(&node), fence(&node)), ("2", 4));

    send(&all, wish_for("1")).await.unwrap();
    until(&all, Upgrading::Checking).await;
    retire(&all).await;
    let node = all.until_state("n1", State::Retired).await;
    assert_eq!(upgrade(&node).state(), Upgrading::GivenUp);
    assert!(all.site.standing().containers.is_empty());
    let refused = send(&all, wish_for("2")).await.unwrap_err();
    assert!(refused.message().contains("going away"), "{refused:?}");
}
