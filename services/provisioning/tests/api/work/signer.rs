//! Who may sign: what the signer is told of a node, and when.

use super::*;
use crate::signer::{Call, Held, Signer, chain, key, wish_for};
use crate::support::register_text;
use berth_provisioner::drift::Part;

/// The service with a chain whose validators sign, and the keys of two.
async fn signing(db: PgPool) -> Whole {
    let all = Whole::new(db).await;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    let mut known = all.world.known();
    known.signer = Signer::default();
    known.signer.import(&key("aa"));
    known.signer.import(&key("bb"));
    drop(known);
    all.site.standing().log.clear();
    all
}

async fn launch_validators(all: &Whole, name: &str) -> pb::Node {
    let wish = wish_for(name, &[key("aa"), key("bb")]);
    let answer = all.api.launch_node(from(all.account, wish)).await.unwrap();
    answer.into_inner().node.unwrap()
}

async fn earning(db: PgPool) -> Whole {
    let all = signing(db).await;
    launch_validators(&all, "n1").await;
    all.until_state("n1", State::Running).await;
    all
}

/// The fence under which the validators sign now, if they do.
fn signs(all: &Whole) -> Option<u64> {
    let signer = &all.world.known().signer;
    let (one, other) = (signer.signs(&key("aa")), signer.signs(&key("bb")));
    assert_eq!(one, other);
    one.map(|(_, fence)| fence)
}

/// What the signer knows of the one node.
fn held(all: &Whole) -> Held {
    let known = all.world.known();
    let mut nodes = known.signer.nodes.values();
    let held = *nodes.next().unwrap();
    assert!(nodes.next().is_none());
    held
}

fn away(all: &Whole) {
    all.world.known().signer.refuse = Some(Status::new(Code::Unavailable, "as scripted"));
}

fn back(all: &Whole) {
    all.world.known().signer.refuse = None;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn nothing_of_a_placement_is_made_before_the_signer_admitted_it(db: PgPool) {
    let all = earning(db).await;
    let log = all.site.standing().log.clone();
    assert_eq!(
        log[..5],
        [
            "signer chain signchain",
            "signer bind 2 under 1",
            "signer fence moves under 1",
            "signer grant under 1",
            "prepare",
        ]
    );
    assert_eq!(signs(&all), Some(1));
    let signer = all.world.known().signer.clone();
    let chain = &signer.chains["signchain"];
    assert_eq!(chain.genesis_validators_root, [1; 32]);
    assert_eq!(
        (chain.genesis_time, chain.seconds_per_slot),
        (1_700_000_000, 12)
    );
    assert_eq!(chain.preset, "minimal");
    let altair = &chain.forks[1];
    assert_eq!((altair.name.as_str(), altair.epoch), ("altair", 0));
    assert_eq!(altair.version, [1, 0, 0, 1]);
    let node = all.node("n1").await;
    assert_eq!(node.spec.unwrap().validators, [key("aa"), key("bb")]);

    let before = all.world.known().signer.calls.len();
    launch(&all.api, all.account, "n2").await;
    all.site.standing().containers.clear();
    all.until_state("n2", State::Running).await;
    let after = all.world.known().signer.calls.len();
    assert_eq!(
        after, before,
        "a node that signs nothing is not its business"
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_signer_that_knows_a_higher_fence_is_gone_above(db: PgPool) {
    let all = signing(db).await;
    let node = launch_validators(&all, "n1").await;
    let lost = Held {
        fence: 7,
        granted: true,
    };
    all.world.known().signer.nodes.insert(node.id, lost);
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((fence(&node), signs(&all)), (8, Some(8)));
    let log = all.site.standing().log.clone();
    let at = |what: &str| log.iter().position(|line| line == what).unwrap();
    assert!(at("signer grant under 8") < at("prepare"), "{log:#?}");
    assert!(all.site.standing().containers.iter().all(|c| c.fence == 8));
    let told = steps(&all).await;
    let why = "the signer knows fence 7 and ours is 1";
    assert!(told.iter().any(|step| step.contains(why)), "{told:#?}");

    // The same of a node that runs, and of one that is to stop.
    let raised = |to: u64| {
        for held in all.world.known().signer.nodes.values_mut() {
            held.fence = to;
        }
    };
    raised(20);
    let node = all.until("n1", |node| fence(node) == 21).await;
    all.until_state("n1", State::Running).await;
    assert_eq!(signs(&all), Some(21), "{}", node.id);
    raised(30);
    stop(&all).await;
    all.until_state("n1", State::Stopped).await;
    assert_eq!(
        signs(&all),
        None,
        "not under the fence that was lost either"
    );
    start(&all).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(signs(&all), Some(fence(&node)));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn while_the_signer_is_away_nothing_is_made_and_its_reason_is_told(db: PgPool) {
    let all = signing(db).await;
    launch_validators(&all, "n1").await;
    all.until_state("n1", State::Launching).await;
    away(&all);
    let waits = |node: &pb::Node| reason(node).contains("the signer does not answer");
    let node = all.until("n1", waits).await;
    assert_eq!(state(&node), State::Launching);
    assert_eq!(all.site.standing().log, [""; 0]);
    back(&all);
    all.until_state("n1", State::Running).await;

    // A node that runs goes on, and says so.
    away(&all);
    let node = all.until("n1", waits).await;
    assert_eq!(state(&node), State::Running);
    back(&all);
    all.until("n1", |node| reason(node).is_empty()).await;

    // A node that stops stands still, but is not called stopped.
    away(&all);
    stop(&all).await;
    let node = all.until("n1", waits).await;
    assert_eq!(state(&node), State::Stopping);
    let runs = |standing: &crate::machine::Standing| {
        let mut all = standing.containers.iter();
        all.any(|c| c.state == ContainerState::Running)
    };
    assert!(!runs(&all.site.standing()));
    back(&all);
    all.until_state("n1", State::Stopped).await;
    assert_eq!(signs(&all), None);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn whoever_stops_or_goes_away_signs_no_more_also_on_a_machine_out_of_reach(db: PgPool) {
    let all = earning(db).await;
    let unreached = |node: &pb::Node| reason(node).contains("cannot be reached");
    all.site.standing().fault = Some(unreachable);
    stop(&all).await;
    let node = all.until("n1", unreached).await;
    assert_eq!((state(&node), signs(&all)), (State::Stopping, None));
    assert_eq!(held(&all).fence, 2);
    all.site.standing().fault = None;
    all.until_state("n1", State::Stopped).await;
    start(&all).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((fence(&node), signs(&all)), (2, Some(2)));

    all.site.standing().fault = Some(unreachable);
    retire(&all).await;
    let node = all.until("n1", unreached).await;
    assert_eq!((state(&node), signs(&all)), (State::Retiring, None));
    // They are their owner's again, and can sign on another node at once.
    launch_validators(&all, "n2").await;
    all.site.standing().fault = None;
    all.site.standing().containers.clear();
    all.until_state("n2", State::Running).await;
    assert_eq!(signs(&all), Some(1));
    all.until_state("n1", State::Retired).await;
    assert_eq!(signs(&all), Some(1), "what ends takes nothing from another");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_failed_node_signs_no_more_and_keeps_the_reason_of_its_failure(db: PgPool) {
    let all = earning(db).await;
    all.site.standing().fault = Some(stranger);
    away(&all);
    all.until_state("n1", State::Failed).await;
    let told = async |all: &Whole| {
        let told = steps(all).await;
        told.iter()
            .any(|step| step.starts_with("signer the signer does not answer"))
    };
    while !told(&all).await {
        all.step(&all.node("n1").await).await;
    }
    assert_eq!(signs(&all), Some(1));
    let node = all.node("n1").await;
    assert!(reason(&node).contains("host key changed"), "{node:?}");
    back(&all);
    let node = all.until("n1", |_| signs(&all).is_none()).await;
    assert!(reason(&node).contains("host key changed"), "{node:?}");

    all.site.standing().fault = None;
    retry(&all).await.unwrap();
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((fence(&node), signs(&all)), (2, Some(2)));
    all.world.end_leases(CloseReason::InsufficientFunds);
    let node = all.until("n1", |_| signs(&all).is_none()).await;
    assert_eq!(state(&node), State::Failed);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_grant_that_the_signer_lost_is_given_again(db: PgPool) {
    let all = earning(db).await;
    type Forget = fn(&mut Signer);
    let table: [Forget; 3] = [
        |signer| {
            signer
                .nodes
                .values_mut()
                .for_each(|held| held.granted = false)
        },
        |signer| {
            signer
                .nodes
                .values_mut()
                .for_each(|held| *held = Held::default())
        },
        |signer| {
            signer.nodes.clear();
            for digits in ["aa", "bb"] {
                signer.status(&key(digits)).node_id.clear();
            }
        },
    ];
    for forget in table {
        forget(&mut all.world.known().signer);
        assert_eq!(signs(&all), None);
        let node = all.until("n1", |_| signs(&all).is_some()).await;
        assert_eq!((state(&node), signs(&all)), (State::Running, Some(1)));
    }
    // What it refuses for another reason is told, and fails no node that runs.
    all.world.known().signer.refuse = Some(Status::new(Code::PermissionDenied, "as scripted"));
    let node = all
        .until("n1", |node| reason(node).contains("as scripted"))
        .await;
    assert_eq!(state(&node), State::Running);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_call_that_comes_late_lets_nobody_sign(db: PgPool) {
    let all = earning(db).await;
    let harmless = |all: &Whole| {
        let known = all.world.known().signer.clone();
        for call in &known.calls {
            let mut later = known.clone();
            // Refused, or it changes nothing.
            drop(later.apply(call));
            assert_eq!(later.nodes, known.nodes, "{call:?}");
            assert_eq!(later.validators, known.validators, "{call:?}");
        }
    };
    harmless(&all);
    for _ in 0..2 {
        stop(&all).await;
        all.until_state("n1", State::Stopped).await;
        harmless(&all);
        start(&all).await;
        all.until_state("n1", State::Running).await;
        harmless(&all);
    }
    all.site.standing().fault = Some(stranger);
    all.until("n1", |_| signs(&all).is_none()).await;
    harmless(&all);
    all.site.standing().fault = None;
    retire(&all).await;
    all.until_state("n1", State::Retired).await;
    harmless(&all);
    let calls = all.world.known().signer.calls.clone();
    assert!(calls.iter().any(|call| matches!(call, Call::Grant(_))));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn validators_that_another_node_took_meanwhile_fail_the_node(db: PgPool) {
    let all = signing(db).await;
    launch_validators(&all, "n1").await;
    launch_validators(&all, "n2").await;
    all.until_state("n1", State::Running).await;
    all.site.standing().containers.clear();
    let node = all.until_state("n2", State::Failed).await;
    assert!(reason(&node).contains("is of node-"), "{}", reason(&node));
    let n1 = all.node("n1").await;
    let owner = all.world.known().signer.signs(&key("aa")).unwrap().0;
    assert_eq!(owner, n1.id);
    assert!(all.site.standing().containers.is_empty());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_container_that_was_made_by_hand_signs_no_more_from_the_repair_on(db: PgPool) {
    let all = earning(db).await;
    assert_eq!(signs(&all), Some(1));
    drift::changed(&all, Part::Container("any".to_owned()), "create ").await;
    away(&all);
    all.until_state("n1", State::Degraded).await;
    let before = all.site.standing().log.len();
    // Nothing is made anew before the signer knows the next fence.
    for _ in 0..3 {
        let node = all.node("n1").await;
        all.step(&node).await;
    }
    assert_eq!(all.site.standing().log.len(), before);
    back(&all);
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((fence(&node), signs(&all)), (2, Some(2)));
}
