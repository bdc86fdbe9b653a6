//! Keys that the signer makes.

use crate::house::{House, fields, generate};
use crate::vault::Server;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::signing_service_server::SigningService as _;
use berth_proto::signing::v1::validator_status::State;
use berth_signer::api::Api;
use berth_signer::domain::eth::deposit::DepositMessage;
use berth_signer::domain::{Address, PublicKey, Signature};
use berth_signer::keyring::Keyring;
use berth_signer::store::chains;
use serde_json::Value;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

async fn count(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from validator")
        .fetch_one(db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_request_makes_its_keys_once_however_often_and_at_once_it_comes(db: PgPool) {
    let house = Arc::new(House::new(db).await);
    let wanted = generate(2);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (house, wanted) = (Arc::clone(&house), wanted.clone());
        tasks.spawn(async move {
            let answer = house.api.generate_keys(house.call(wanted)).await.unwrap();
            answer.into_inner()
        });
    }
    let answers = tasks.join_all().await;
    assert_eq!(count(&house.db).await, 2);
    let first = &answers[0];
    for answer in &answers {
        assert_eq!(answer, first);
    }
    for one in &first.validators {
        assert_eq!(one.status.clone().unwrap().state(), State::Active);
        assert_eq!(one.spec.clone().unwrap().gas_limit, wanted.gas_limit);
    }
    verify(&house, first).await;
}

/// The deposits are the validators', and their signatures hold.
async fn verify(house: &House, made: &pb::GenerateKeysResponse) {
    let chain = chains::get(&mut house.db.acquire().await.unwrap(), crate::house::CHAIN).await;
    let chain = chain.unwrap();
    let deposits: Vec<Value> = serde_json::from_str(&made.deposit_data).unwrap();
    assert_eq!(deposits.len(), made.validators.len());
    for (deposit, validator) in deposits.iter().zip(&made.validators) {
        let text = |field: &str| deposit[field].as_str().unwrap();
        let key: PublicKey = text("pubkey").parse().unwrap();
        assert_eq!(key.to_string(), validator.public_key);
        assert_eq!(text("fork_version"), "00000000");
        assert_eq!(text("network_name"), "devnet");
        assert_eq!(deposit["amount"], 32_000_000_000_u64);
        let credentials = format!("01{}{}", "00".repeat(11), "0b".repeat(20));
        assert_eq!(text("withdrawal_credentials"), credentials);
        let root = DepositMessage::new(key, Address([0x0b; 20])).signing_root(&chain);
        let signature: Signature = text("signature").parse().unwrap();
        assert!(key.signed(&root, &signature));
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn another_replica_answers_the_same_request_with_the_same_keys(db: PgPool) {
    let house = House::new(db).await;
    let wanted = generate(1);
    let first = house.api.generate_keys(house.call(wanted.clone())).await;
    let database_id: Uuid = sqlx::query_scalar("select database_id from identity")
        .fetch_one(&house.db)
        .await
        .unwrap();
    let keyring = Keyring::new(house.server.login("signer").await, database_id);
    let vault = house.server.login("signer").await;
    let replica = Api::new(
        house.db.clone(),
        vault,
        Arc::new(keyring),
        Arc::new(|| Ok(0)),
    );
    let again = replica.generate_keys(house.call(wanted)).await;
    assert_eq!(first.unwrap().into_inner(), again.unwrap().into_inner());
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn without_vault_no_key_is_made_and_what_is_wrong_is_named(db: PgPool) {
    let house = House::new(db).await;
    let gone = Server::start().await;
    let vault = gone.login("signer").await;
    gone.stop().await;
    let keyring = Arc::new(Keyring::new(vault.clone(), Uuid::from_u128(1)));
    let without = Api::new(house.db.clone(), vault, keyring, Arc::new(|| Ok(0)));
    let refused = without.generate_keys(house.call(generate(2))).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    assert_eq!(count(&house.db).await, 0);

    let wrong = pb::GenerateKeysRequest {
        request_id: "1".to_owned(),
        count: 101,
        withdrawal_address: format!("0x{}", "00".repeat(20)),
        fee_recipient: "nobody".to_owned(),
        ..generate(1)
    };
    let refused = house
        .api
        .generate_keys(house.call(wrong))
        .await
        .unwrap_err();
    assert_eq!(
        fields(&refused),
        ["count", "request_id", "withdrawal_address", "fee_recipient"]
    );
    let unknown = pb::GenerateKeysRequest {
        chain: "ethereum-mainnet".to_owned(),
        ..generate(1)
    };
    let refused = house
        .api
        .generate_keys(house.call(unknown))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
