//! What may be asked for, and what is said of it.

use super::*;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn many_upgrades_at_once_are_one_and_no_other_change_comes_between(db: PgPool) {
    let all = running(db).await;
    register(&all, &second()).await;
    let wishes = (0..8).map(|_| send(&all, wish_for("2")));
    let answers = futures::future::join_all(wishes).await;
    let refusals: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.len(), 7);
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal:?}");
        assert!(
            refusal.message().contains("from version 1 to 2"),
            "{refusal:?}"
        );
    }
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
    let refused = all.api.update_node(from(all.account, message)).await;
    let refused = refused.unwrap_err();
    assert!(refused.message().contains("wait until"), "{refused:?}");
    let node = ends(&all, Upgrading::Done).await;
    assert_eq!(fence(&node), 2);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_same_upgrade_twice_is_one_and_another_account_finds_no_node(db: PgPool) {
    let all = running(db).await;
    register(&all, &second()).await;
    let wish = pb::UpgradeNodeRequest {
        etag: all.node("n1").await.etag,
        ..wish_for("2")
    };
    let first = send(&all, wish.clone()).await.unwrap();
    assert_eq!(send(&all, wish.clone()).await.unwrap(), first);
    let stale = pb::UpgradeNodeRequest {
        request_id: request_id(),
        ..wish
    };
    let refused = send(&all, stale.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let stranger = from(berth_core::AccountId::generate(), stale);
    let refused = all.api.upgrade_node(stranger).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_dry_run_says_what_would_change_and_changes_nothing(db: PgPool) {
    let all = running(db).await;
    let text = second().replace("[settings.moniker]", "[settings.colour]");
    let text = text.replace("settings.moniker", "settings.colour");
    register(&all, &text).await;
    let before = all.node("n1").await;
    let told = steps(&all).await;
    let wish = pb::UpgradeNodeRequest {
        validate_only: true,
        ..wish_for("2")
    };
    let answer = send(&all, wish).await.unwrap();
    assert_eq!(answer.node.unwrap(), before);
    let plan = answer.plan.unwrap();
    assert_eq!(
        (plan.from_version.as_str(), plan.to_version.as_str()),
        ("1", "2")
    );
    assert_eq!(plan.images.len(), 1);
    assert!(
        plan.images[0]
            .from_image
            .contains("berth/test:1@sha256:1111")
    );
    assert!(plan.images[0].to_image.contains("berth/test:2@sha256:3333"));
    assert_eq!(plan.added_settings, ["colour"]);
    assert_eq!(plan.removed_settings, ["moniker"]);
    assert!(plan.can_roll_back, "{}", plan.roll_back_reason);
    assert_eq!(plan.downtime.unwrap().seconds, 30);
    assert_eq!(plan.gate.unwrap().seconds, 300);
    assert_eq!(all.node("n1").await, before);
    assert_eq!(steps(&all).await, told);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_cannot_be_the_next_version_is_refused_by_name(db: PgPool) {
    let all = running(db).await;
    names_field(&send(&all, wish_for("")).await.unwrap_err(), "version");
    names_field(&send(&all, wish_for("1")).await.unwrap_err(), "version");
    let refused = send(&all, wish_for("9")).await.unwrap_err();
    names_field(&refused, "version");
    for (version, from, to) in [
        ("3", "[requirements.full]", "[requirements.light]"),
        ("4", "chain_id = \"test-1\"", "chain_id = \"test-2\""),
    ] {
        let named = format!("version = \"{version}\"");
        let text = CHAIN.replace("version = \"1\"", &named).replace(from, to);
        register(
            &all,
            &text.replace(
                "\"full\"",
                if version == "3" {
                    "\"light\""
                } else {
                    "\"full\""
                },
            ),
        )
        .await;
        names_field(&send(&all, wish_for(version)).await.unwrap_err(), "version");
    }
    let needy = second()
        .replace("version = \"2\"", "version = \"5\"")
        .replace("default = \"{node.name}\"\n", "");
    register(&all, &needy).await;
    let refused = send(&all, wish_for("5")).await.unwrap_err();
    names_field(&refused, "settings.moniker");
    let wish = pb::UpgradeNodeRequest {
        removed_settings: vec!["colour".to_owned()],
        ..wish_for("5")
    };
    names_field(&send(&all, wish).await.unwrap_err(), "removed_settings[0]");
    let wish = pb::UpgradeNodeRequest {
        settings: [("moniker".to_owned(), "m".to_owned())].into(),
        ..wish_for("5")
    };
    send(&all, wish).await.unwrap();
    ends(&all, Upgrading::Done).await;

    // Back only where that was tried.
    register(
        &all,
        &one_way().replace("version = \"2\"", "version = \"6\""),
    )
    .await;
    send(&all, wish_for("6")).await.unwrap();
    ends(&all, Upgrading::Done).await;
    let refused = send(&all, wish_for("5")).await.unwrap_err();
    names_field(&refused, "version");
    assert!(refused.message().contains("rollback_to"), "{refused:?}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_stopped_node_starts_with_the_version_that_it_was_given(db: PgPool) {
    let all = running(db).await;
    stop(&all).await;
    let early = send(&all, wish_for("")).await.unwrap_err();
    assert!(early.message().contains("STOPPING"), "{early:?}");
    all.until_state("n1", State::Stopped).await;
    let larger = second()
        .replace(
            "memory = \"1GiB\"\ncpu_millis",
            "memory = \"2GiB\"\ncpu_millis",
        )
        .replace("version = \"2\"", "version = \"2l\"");
    register(&all, &larger).await;
    names_field(&send(&all, wish_for("2l")).await.unwrap_err(), "version");

    register(&all, &second()).await;
    let node = send(&all, wish_for("2")).await.unwrap().node.unwrap();
    assert_eq!((state(&node), version(&node)), (State::Stopped, "2"));
    assert!(!node.reconciling);
    start(&all).await;
    let node = all.until_state("n1", State::Running).await;
    assert_eq!((version(&node), fence(&node)), ("2", 2));
    assert!(images(&all)[0].contains("3333"));
}
