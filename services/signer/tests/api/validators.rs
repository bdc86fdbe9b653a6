//! Validators as their owner sees and changes them.

use crate::eventually::eventually;
use crate::house::{House, by, fields, id, reason};
use berth_core::AccountId;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::signing_service_server::SigningService as _;
use berth_proto::signing::v1::validator_status::State;
use berth_signer::domain::refusal::Reason;
use berth_signer::domain::{Message, PublicKey};
use berth_signer::keyring::{Expected, KeyError};
use prost_types::FieldMask;
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;
use tonic::{Code, Status};

async fn list(house: &House, request: pb::ListValidatorsRequest) -> pb::ListValidatorsResponse {
    let answer = house.api.list_validators(house.call(request)).await;
    answer.unwrap().into_inner()
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn validators_are_listed_by_key_page_by_page_and_by_node(db: PgPool) {
    let house = House::new(db).await;
    let mut keys = house.validators(5).await;
    keys.sort_unstable();
    let node = house.node(&keys[1..3]).await;
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = list(
            &house,
            pb::ListValidatorsRequest {
                page_size: 2,
                page_token,
                node_id: String::new(),
            },
        )
        .await;
        seen.extend(page.validators.into_iter().map(|one| one.public_key));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(
        seen,
        keys.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
    let of_node = pb::ListValidatorsRequest {
        node_id: node.to_string(),
        ..Default::default()
    };
    assert_eq!(list(&house, of_node).await.validators.len(), 2);
    let foreign = pb::ListValidatorsRequest {
        page_token: hex::encode("another list"),
        ..Default::default()
    };
    let refused = house.api.list_validators(house.call(foreign)).await;
    assert_eq!(fields(&refused.unwrap_err()), ["page_token"]);
}

async fn update(
    house: &House,
    key: &PublicKey,
    etag: &str,
    gas_limit: u64,
    paths: &[&str],
) -> Result<pb::Validator, Status> {
    let request = pb::UpdateValidatorRequest {
        request_id: id(),
        validator: Some(pb::Validator {
            public_key: key.to_string(),
            etag: etag.to_owned(),
            spec: Some(pb::ValidatorSpec {
                gas_limit,
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let answer = house.api.update_validator(house.call(request)).await?;
    Ok(answer.into_inner().validator.unwrap())
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_update_changes_what_its_mask_names_and_nothing_that_changed_meanwhile(db: PgPool) {
    let house = House::new(db).await;
    let key = house.validators(1).await[0];
    let before = house.get(&key).await;
    let spec = |one: &pb::Validator| one.spec.clone().unwrap();
    let after = update(&house, &key, &before.etag, 5, &["spec.gas_limit"]).await;
    let after = after.unwrap();
    assert_eq!(spec(&after).gas_limit, 5);
    assert_eq!(spec(&after).fee_recipient, spec(&before).fee_recipient);
    let stale = update(&house, &key, &before.etag, 6, &["spec.gas_limit"]).await;
    assert_eq!(stale.unwrap_err().code(), Code::Aborted);
    let cleared = update(&house, &key, "", 6, &["spec.fee_recipient"])
        .await
        .unwrap();
    assert_eq!(
        (
            spec(&cleared).fee_recipient.as_str(),
            spec(&cleared).gas_limit
        ),
        ("", 5)
    );
    for paths in [&[][..], &["spec.chain"][..]] {
        let refused = update(&house, &key, "", 6, paths).await.unwrap_err();
        assert_eq!(fields(&refused), ["update_mask"]);
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_disabled_validator_signs_nothing_until_it_is_enabled(db: PgPool) {
    let house = House::new(db).await;
    let key = house.validators(1).await[0];
    let node = house.node(&[key]).await;
    let block = |slot| Message::Block { slot };
    assert_eq!(house.sign(node, 1, key, block(1)).await, None);
    for _ in 0..2 {
        let disabled = house.disable(&key).await.unwrap().status.unwrap();
        assert_eq!(disabled.state(), State::Disabled);
        assert_eq!(disabled.status_reason, "disabled by its owner");
    }
    assert_eq!(
        house.sign(node, 1, key, block(2)).await,
        Some(Reason::Disabled)
    );
    let enable = async |fresh| {
        let request = house.call(pb::EnableValidatorRequest {
            request_id: id(),
            public_key: key.to_string(),
            fresh,
        });
        house.api.enable_validator(request).await
    };
    enable(false).await.unwrap();
    assert_eq!(house.sign(node, 1, key, block(2)).await, None);

    sqlx::query("update validator set state = 'quarantined'")
        .execute(&house.db)
        .await
        .unwrap();
    assert_eq!(
        reason(&house.disable(&key).await.unwrap_err()),
        "VALIDATOR_STATE"
    );
    assert_eq!(reason(&enable(false).await.unwrap_err()), "VALIDATOR_STATE");
    let stated = enable(true).await.unwrap().into_inner().validator.unwrap();
    let stated = stated.status.unwrap();
    assert_eq!(stated.state(), State::Active);
    assert!(
        stated.status_reason.contains("used nowhere else"),
        "{stated:?}"
    );
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_withdrawal_that_was_cut_off_is_ended_by_its_owner_either_way(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(2).await;
    let load = async || {
        let rows: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("select public_key, released from validator where state = 'active'")
                .fetch_all(&house.db)
                .await
                .unwrap();
        let held = rows.iter().map(|(key, released)| {
            let key = PublicKey::try_from(&key[..]).unwrap();
            (key, *released)
        });
        let expected = Expected {
            held: held.collect(),
            withdrawn: Default::default(),
        };
        house.keyring.load(&expected).await
    };
    // Killed before the commit, of both.
    for key in &keys {
        let withdrawals = house.keyring.withdrawals();
        withdrawals.remember(key, 1).await.unwrap();
    }
    assert_eq!((load().await.loaded, load().await.problems.len()), (0, 2));
    let enable = async |key: &PublicKey, fresh| {
        let request = house.call(pb::EnableValidatorRequest {
            request_id: id(),
            public_key: key.to_string(),
            fresh,
        });
        house.api.enable_validator(request).await
    };
    enable(&keys[0], true).await.unwrap();
    assert_eq!(load().await.loaded, 1);
    house.disable(&keys[1]).await.unwrap();
    assert_eq!(load().await.expected, 1);
    // Its row knew nothing of the withdrawal, and so of nothing after it.
    let refused = enable(&keys[1], false).await.unwrap_err();
    assert_eq!(reason(&refused), "PROTECTION_EXPORTED");
    enable(&keys[1], true).await.unwrap();
    for _ in 0..2 {
        house.disable(&keys[1]).await.unwrap();
        assert_eq!(load().await.loaded, 1);
        enable(&keys[1], false).await.unwrap();
        assert_eq!(load().await.loaded, 2);
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn without_vault_a_key_is_silenced_and_its_owner_told_to_ask_again(db: PgPool) {
    let house = House::new(db).await;
    let key = house.validators(1).await[0];
    let node = house.node(&[key]).await;
    house.server.pause();
    let request = pb::DisableValidatorRequest {
        request_id: id(),
        public_key: key.to_string(),
    };
    let disable = async || {
        house
            .api
            .disable_validator(house.call(request.clone()))
            .await
    };
    assert_eq!(disable().await.unwrap_err().code(), Code::Unavailable);
    let refused = house.sign(node, 1, key, Message::Block { slot: 1 }).await;
    assert_eq!(refused, Some(Reason::Disabled));
    house.server.resume();
    eventually("Vault hears of it", async || disable().await.ok()).await;
    let known = house.keyring.withdrawals().all().await.unwrap();
    assert_eq!(known, [(key, 1)].into());
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn nothing_is_signed_once_disabling_was_answered(db: PgPool) {
    let house = Arc::new(House::new(db).await);
    let key = house.validators(1).await[0];
    let node = house.node(&[key]).await;
    let slot = Arc::new(AtomicU64::new(1));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (house, slot) = (house.clone(), slot.clone());
        tasks.spawn(async move {
            loop {
                let slot = slot.fetch_add(1, Ordering::SeqCst);
                let refused = house.sign(node, 1, key, Message::Block { slot }).await;
                if refused == Some(Reason::Disabled) {
                    return;
                }
            }
        });
    }
    let last = async || house.status(&key).await.watermarks.unwrap().block_slot;
    eventually("a block is signed", async || last().await.map(drop)).await;
    let answered = house.disable(&key).await.unwrap().status.unwrap();
    let known = answered.watermarks.unwrap().block_slot;
    tasks.join_all().await;
    assert_eq!(last().await, known);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_removed_validator_has_no_key_any_more_and_keeps_what_it_signed(db: PgPool) {
    let house = House::new(db).await;
    let key = house.validators(1).await[0];
    let node = house.node(&[key]).await;
    let block = Message::Block { slot: 3 };
    assert_eq!(house.sign(node, 1, key, block).await, None);
    let mut request = pb::RemoveValidatorRequest {
        request_id: id(),
        public_key: key.to_string(),
        confirmation: "yes".to_owned(),
    };
    let remove = async |request: &pb::RemoveValidatorRequest| {
        let request = house.call(request.clone());
        house.api.remove_validator(request).await
    };
    assert_eq!(
        fields(&remove(&request).await.unwrap_err()),
        ["confirmation"]
    );
    request.confirmation = key.to_string();
    assert_eq!(
        reason(&remove(&request).await.unwrap_err()),
        "VALIDATOR_BOUND"
    );
    house.bind(node, 1, &[]).await.unwrap();
    assert_eq!(
        reason(&remove(&request).await.unwrap_err()),
        "VALIDATOR_STATE"
    );
    house.disable(&key).await.unwrap();
    for _ in 0..2 {
        let removed = remove(&request).await.unwrap().into_inner();
        let status = removed.validator.unwrap().status.unwrap();
        assert_eq!(status.state(), State::Removed);
        assert_eq!(status.watermarks.unwrap().block_slot, Some(3));
        assert_eq!(
            house.keyring.obtain(&key).await.map(drop),
            Err(KeyError::Missing)
        );
    }
    assert_eq!(
        reason(&house.bind(node, 1, &[key]).await.unwrap_err()),
        "VALIDATOR_STATE"
    );
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn another_accounts_validator_is_not_found_by_any_call(db: PgPool) {
    let house = House::new(db).await;
    let public_key = house.validators(1).await[0].to_string();
    let thief = AccountId::generate();
    let api = &house.api;
    let get = pb::GetValidatorRequest {
        public_key: public_key.clone(),
    };
    let disable = pb::DisableValidatorRequest {
        request_id: id(),
        public_key: public_key.clone(),
    };
    let enable = pb::EnableValidatorRequest {
        request_id: id(),
        public_key: public_key.clone(),
        fresh: true,
    };
    let export = pb::ExportProtectionRequest {
        public_keys: vec![public_key.clone()],
        chain: crate::house::CHAIN.to_owned(),
        minified: true,
    };
    let exit = pb::SignVoluntaryExitRequest {
        request_id: id(),
        public_key: public_key.clone(),
        confirmation: public_key,
        ..Default::default()
    };
    let remove = pb::RemoveValidatorRequest {
        request_id: id(),
        public_key: exit.public_key.clone(),
        confirmation: exit.confirmation.clone(),
    };
    for status in [
        api.remove_validator(by(thief, remove)).await.unwrap_err(),
        api.get_validator(by(thief, get)).await.unwrap_err(),
        api.disable_validator(by(thief, disable)).await.unwrap_err(),
        api.enable_validator(by(thief, enable)).await.unwrap_err(),
        api.export_protection(by(thief, export)).await.unwrap_err(),
        api.sign_voluntary_exit(by(thief, exit)).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::NotFound, "{status}");
    }
    let listed = api.list_validators(by(thief, pb::ListValidatorsRequest::default()));
    assert!(listed.await.unwrap().into_inner().validators.is_empty());
}
