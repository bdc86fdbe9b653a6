//! What differs on a machine is told by its name, put right once it can be,
//! and less often when somebody changes it again.

use super::*;
use berth_provisioner::drift::{Difference, Part};

/// A key that is not the scripted machine's.
const OTHER_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// Makes the next comparison due, as time would.
async fn due(all: &Whole) {
    sqlx::raw_sql(
        "update placement set deploy_time = now() - interval '2 hours' where state = 'current';
         update drift set look_time = now() - interval '6 minutes'",
    )
    .execute(&all.api.db)
    .await
    .unwrap();
}

fn difference(part: Part) -> Difference {
    Difference {
        part,
        what: "the thing".to_owned(),
        wanted: "right".to_owned(),
        found: "wrong".to_owned(),
    }
}

const TOLD: &str = "the thing is `wrong`, not `right`";

/// Something is changed by hand until what begins so is done, and looked at.
pub(super) async fn changed(all: &Whole, part: Part, cure: &'static str) {
    all.site.standing().changed = vec![(cure, difference(part))];
    due(all).await;
}

/// Steps of this name that were told.
async fn told(all: &Whole, name: &str) -> Vec<String> {
    let name = format!("{name} ");
    let all = steps(all).await;
    let told = all.iter().filter_map(|step| step.strip_prefix(&name));
    told.map(str::to_owned).collect()
}

/// One look, at once.
async fn look(all: &Whole) -> pb::Node {
    due(all).await;
    let node = all.node("n1").await;
    all.step(&node).await;
    all.node("n1").await
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_is_compared_on_a_timer_and_not_at_every_look(db: PgPool) {
    let all = running(db).await;
    let node = all.node("n1").await;
    for _ in 0..3 {
        all.step(&node).await;
    }
    assert_eq!(all.site.standing().looks, 0);
    look(&all).await;
    all.step(&node).await;
    assert_eq!(all.site.standing().looks, 1);
    assert_eq!(told(&all, "drift").await, [""; 0]);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_limit_is_put_right_in_place_and_the_node_says_what_it_was(db: PgPool) {
    let all = running(db).await;
    let name = all.site.standing().containers[0].name.clone();
    let limit = format!("limit {}", all.site.standing().containers[0].component);
    changed(&all, Part::Limits(name), "limit ").await;
    let node = all.until_state("n1", State::Degraded).await;
    assert_eq!(reason(&node), TOLD);
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((fence(&node), reason(&node)), (1, ""));
    let log = all.site.standing().log.clone();
    assert_eq!(log.last(), Some(&limit));
    let drift = told(&all, "drift").await;
    let wrong = format!("{TOLD}; putting it right");
    assert_eq!(drift, [wrong.as_str(), "the machine is as it should be"]);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn firewall_and_secrets_are_put_right_in_place(db: PgPool) {
    let all = running(db).await;
    for (part, cure) in [(Part::Firewall, "firewall"), (Part::Secret, "secrets")] {
        let before = all.site.standing().log.len();
        changed(&all, part, cure).await;
        all.until_state("n1", State::Degraded).await;
        let node = all.until_state("n1", State::Running).await;
        assert_eq!(fence(&node), 1);
        let log = all.site.standing().log[before..].to_vec();
        assert!(log.len() == 1 && log[0].starts_with(cure), "{log:?}");
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_container_or_file_starts_the_node_anew_under_the_next_fence(db: PgPool) {
    let all = running(db).await;
    for (part, next) in [(Part::Container("any".to_owned()), 2), (Part::File, 3)] {
        changed(&all, part, "create ").await;
        let node = all.until_state("n1", State::Degraded).await;
        assert_eq!((fence(&node), reason(&node)), (next, TOLD));
        all.until_state("n1", State::Running).await;
        let standing = all.site.standing();
        assert_eq!(standing.containers.len(), 2);
        assert!(standing.containers.iter().all(|c| c.fence == next));
    }
    let drift = told(&all, "drift").await;
    assert!(
        drift[0].starts_with(TOLD) && drift[0].contains("next fence"),
        "{drift:?}"
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_only_a_person_can_put_right_is_told_once(db: PgPool) {
    let all = running(db).await;
    changed(&all, Part::Machine, "never").await;
    let node = all.until_state("n1", State::Degraded).await;
    assert_eq!(reason(&node), TOLD);
    for _ in 0..3 {
        let node = look(&all).await;
        assert_eq!((state(&node), reason(&node)), (State::Degraded, TOLD));
    }
    assert_eq!(told(&all, "drift").await, [TOLD]);
    all.site.standing().changed.clear();
    due(&all).await;
    all.until_state("n1", State::Running).await;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_somebody_changes_again_is_left_for_a_while_and_said_to_be(db: PgPool) {
    let all = running(db).await;
    let before = all.site.standing().log.len();
    changed(&all, Part::Firewall, "never").await;
    let so = |node: &pb::Node| reason(node).contains("somebody changes it");
    let node = all.until("n1", so).await;
    assert_eq!(state(&node), State::Degraded);
    assert!(reason(&node).contains("the firewall put right 3 times since"));
    look(&all).await;
    assert_eq!(all.site.standing().log.len(), before + 3);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_repair_that_the_machine_refuses_is_told_and_fails_nothing(db: PgPool) {
    let all = running(db).await;
    changed(&all, Part::Firewall, "firewall").await;
    all.site.standing().lost_before = Some(0);
    let so = |node: &pb::Node| reason(node).contains("could not be put right");
    let node = all.until("n1", so).await;
    assert_eq!(state(&node), State::Degraded);
    due(&all).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(reason(&node), "");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn lost_hardware_is_told_to_inventory_once_and_measured_after_a_reboot(db: PgPool) {
    let all = running(db).await;
    all.site.standing().hardware = Some((2, 8 << 30));
    due(&all).await;
    let lost = "the machine has 2 processors, and was verified with 4";
    let node = all.until_state("n1", State::Degraded).await;
    assert_eq!(reason(&node), lost);
    look(&all).await;
    assert_eq!(all.world.known().problems, [lost]);
    // Within the hour nothing is measured, but for a reboot.
    all.site.standing().hardware = None;
    assert_eq!(state(&look(&all).await), State::Degraded);
    all.site.standing().boot += 1;
    due(&all).await;
    all.until_state("n1", State::Running).await;
    assert_eq!(all.world.known().problems, [lost]);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_host_key_behind_an_open_session_fails_the_node(db: PgPool) {
    let all = running(db).await;
    all.site.standing().shown_key = Some(OTHER_KEY);
    due(&all).await;
    let node = all.until_state("n1", State::Failed).await;
    assert!(reason(&node).contains("host key changed"), "{node:?}");
    assert_eq!(all.world.known().problems.len(), 1);
}
