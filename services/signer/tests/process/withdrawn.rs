//! Keys that their owner withdrew after the backup that is restored.

use crate::custody::{CHAIN, Owner};
use crate::postgres::{DATABASE, OWNER, SERVING};
use crate::signer::{Running, Site, said, signer};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::validator_status::State;
use berth_runtime::clients::request_for;
use nix::sys::signal::Signal;
use tonic::Status;
use uuid::Uuid;

/// Three keys that sign.
async fn keys(site: &Site, owner: &Owner<'_>) -> Vec<String> {
    let generate = pb::GenerateKeysRequest {
        request_id: Uuid::now_v7().to_string(),
        chain: CHAIN.to_owned(),
        count: 3,
        withdrawal_address: format!("0x{}", "0b".repeat(20)),
        ..Default::default()
    };
    let made = owner.clone().generate(generate).await;
    site.holds(0, 3).await;
    let keys = made.validators.into_iter();
    keys.map(|one| one.public_key).collect()
}

async fn disable(owner: &Owner<'_>, public_key: &str) {
    let request = pb::DisableValidatorRequest {
        request_id: Uuid::now_v7().to_string(),
        public_key: public_key.to_owned(),
    };
    let request = request_for(owner.account, request);
    let answer = owner.client().await.disable_validator(request).await;
    answer.unwrap();
}

async fn enable(owner: &Owner<'_>, public_key: &str, fresh: bool) -> Result<(), Status> {
    let request = pb::EnableValidatorRequest {
        request_id: Uuid::now_v7().to_string(),
        public_key: public_key.to_owned(),
        fresh,
    };
    let request = request_for(owner.account, request);
    let answer = owner.client().await.enable_validator(request).await;
    answer.map(drop)
}

async fn export(owner: &Owner<'_>, public_key: &str) {
    let request = pb::ExportProtectionRequest {
        public_keys: vec![public_key.to_owned()],
        chain: CHAIN.to_owned(),
        minified: true,
    };
    let request = request_for(owner.account, request);
    let answer = owner.client().await.export_protection(request).await;
    answer.unwrap();
}

async fn state(owner: &Owner<'_>, public_key: &str) -> State {
    let mut all = owner.list().await.into_iter();
    let one = all.find(|one| one.public_key == public_key);
    one.unwrap().status.unwrap().state()
}

async fn end(mut running: Running) {
    running.signal(Signal::SIGKILL);
    running.ended().await;
}

#[tokio::test]
async fn what_was_withdrawn_after_the_backup_does_not_sign_once_that_is_restored() {
    let site = Site::start().await;
    let running = site.serve().await;
    let owner = Owner::of(&site).await;
    let keys = keys(&site, &owner).await;
    disable(&owner, &keys[2]).await;
    end(running).await;
    // Its connections may outlive it for a moment.
    let alone = |database: &str| {
        format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"
        )
    };
    site.postgres.sql("postgres", &alone(DATABASE)).await;
    let backup = format!("create database backup template {DATABASE} owner {OWNER}");
    site.postgres.sql("postgres", &backup).await;

    let running = site.serve().await;
    disable(&owner, &keys[0]).await;
    export(&owner, &keys[2]).await;
    end(running).await;
    let drop = format!("drop database {DATABASE} with (force)");
    site.postgres.sql("postgres", &drop).await;
    let rename = format!("alter database backup rename to {DATABASE}");
    site.postgres.sql("postgres", &rename).await;

    // Nothing was signed meanwhile, so that the anchor is the one it knows.
    let running = site.serve().await;
    running.says("its owner withdrew the key").await;
    site.holds(0, 1).await;
    assert_eq!(state(&owner, &keys[0]).await, State::Active);
    // The backup knows that it was disabled, and not that it may sign elsewhere.
    let refused = enable(&owner, &keys[2], false).await.unwrap_err();
    assert!(refused.message().contains("given away"), "{refused}");
    let config = site.config(SERVING);
    let config = config.to_str().unwrap();
    let dry = signer(&["reanchor", "--dry-run", "--config", config]).output();
    let dry = said(&dry.unwrap());
    assert!(dry.contains("would disable 1 validators"), "{dry}");
    assert_eq!(state(&owner, &keys[0]).await, State::Active);
    let done = signer(&["reanchor", "--config", config]).output();
    let done = said(&done.unwrap());
    assert!(done.contains("disabled 1 validators"), "{done}");
    assert_eq!(state(&owner, &keys[0]).await, State::Disabled);
    assert_eq!(state(&owner, &keys[1]).await, State::Active);

    enable(&owner, &keys[0], true).await.unwrap();
    site.holds(0, 2).await;
}
