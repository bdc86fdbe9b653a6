//! The gate: what passes, what goes back, and what is left to a person.

use super::*;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_is_not_healthy_in_time_goes_back_with_its_settings(db: PgPool) {
    let all = running(db).await;
    register(&all, &second()).await;
    let wish = pb::UpgradeNodeRequest {
        settings: [("moniker".to_owned(), "new".to_owned())].into(),
        ..wish_for("2")
    };
    send(&all, wish).await.unwrap();
    until(&all, Upgrading::Checking).await;
    let settings = all.node("n1").await.spec.unwrap().settings;
    assert_eq!(settings["moniker"], "new");
    all.world.known().health = HealthState::Down;
    deployed(&all).await;
    assert_eq!(upgrade(&all.node("n1").await).state(), Upgrading::Checking);
    overdue(&all).await;
    let node = until(&all, Upgrading::RollingBack).await;
    assert_eq!((version(&node), fence(&node)), ("1", 3));
    assert!(node.spec.as_ref().unwrap().settings.is_empty());
    all.world.known().health = HealthState::Healthy;
    let node = ends(&all, Upgrading::RolledBack).await;
    assert_eq!((version(&node), fence(&node)), ("1", 3));
    let why = upgrade(&node).reason;
    assert_eq!(why, "version 2 was not healthy in time: as scripted");
    assert!(images(&all)[0].contains("1111"), "{:?}", images(&all));
    let told = steps(&all).await;
    for step in [
        "rollback going back to version 1: version 2 was not healthy in time: as scripted under \
         fence 3",
        "rollback version 1 runs again and is healthy",
    ] {
        assert!(told.iter().any(|told| told == step), "{step} in {told:#?}");
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_version_that_cannot_be_started_goes_back_at_once(db: PgPool) {
    let all = upgrading(db, &second()).await;
    until(&all, Upgrading::Checking).await;
    all.site.standing().refuses = Some(("start node", broken));
    let node = until(&all, Upgrading::RollingBack).await;
    all.site.standing().refuses = None;
    let why = upgrade(&node).reason;
    assert!(why.starts_with("version 2 cannot be started: "), "{why}");
    let node = ends(&all, Upgrading::RolledBack).await;
    assert_eq!(version(&node), "1");
}

fn broken() -> SiteError {
    SiteError::Invalid {
        what: "a container",
        why: "no such program".to_owned(),
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn where_the_old_version_cannot_read_the_data_a_late_one_goes_on_for_a_person(db: PgPool) {
    let all = upgrading(db, &one_way()).await;
    until(&all, Upgrading::Checking).await;
    all.world.known().health = HealthState::Down;
    deployed(&all).await;
    overdue(&all).await;
    let node = until(&all, Upgrading::Failed).await;
    assert_eq!(
        (state(&node), version(&node), fence(&node)),
        (State::Degraded, "2", 2)
    );
    let why = upgrade(&node).reason;
    assert!(why.contains("not known to read its data"), "{why}");
    assert!(why.contains("berth node upgrade"), "{why}");
    // It was only slow.
    all.world.known().health = HealthState::Healthy;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(fence(&node), 2);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn where_the_old_version_cannot_read_the_data_a_broken_one_fails(db: PgPool) {
    let all = upgrading(db, &one_way()).await;
    until(&all, Upgrading::Checking).await;
    all.site.standing().refuses = Some(("start node", broken));
    let node = all.until_state("n1", State::Failed).await;
    assert_eq!(upgrade(&node).state(), Upgrading::Failed);
    assert_eq!(fence(&node), 2, "nothing went back");
    assert!(
        reason(&node).contains("no such program"),
        "{}",
        reason(&node)
    );
    // A person registers one that works.
    all.site.standing().refuses = None;
    let third = one_way().replace("version = \"2\"", "version = \"3\"");
    register(&all, &third).await;
    retry(&all).await.unwrap();
    let node = all.until_state("n1", State::Running).await;
    assert_eq!(version(&node), "3");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_way_back_that_is_not_healthy_either_fails_with_both_reasons(db: PgPool) {
    let all = upgrading(db, &second()).await;
    until(&all, Upgrading::Checking).await;
    all.world.known().health = HealthState::Down;
    deployed(&all).await;
    overdue(&all).await;
    until(&all, Upgrading::RollingBack).await;
    deployed(&all).await;
    overdue(&all).await;
    let node = all.until_state("n1", State::Failed).await;
    assert_eq!(upgrade(&node).state(), Upgrading::Failed);
    assert_eq!(
        reason(&node),
        "version 1 was not healthy in time: as scripted; before that, version 2 was not healthy \
         in time: as scripted"
    );
}
