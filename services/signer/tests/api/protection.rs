//! Interchanges, out of the signer and into it.

use crate::house::{CHAIN, GENESIS_ROOT, House, fields, id, interchange, reason};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::signing_service_server::SigningService as _;
use berth_signer::domain::{Message, PublicKey, Root};
use serde_json::{Value, json};
use sqlx::PgPool;
use tonic::Status;

async fn export(house: &House, keys: &[PublicKey], minified: bool) -> Result<Value, Status> {
    let request = house.call(pb::ExportProtectionRequest {
        public_keys: keys.iter().map(ToString::to_string).collect(),
        chain: CHAIN.to_owned(),
        minified,
    });
    let answer = house.api.export_protection(request).await?;
    Ok(serde_json::from_str(&answer.into_inner().interchange).unwrap())
}

async fn import(house: &House, interchange: String) -> Result<u32, Status> {
    let request = house.call(pb::ImportProtectionRequest {
        request_id: id(),
        chain: CHAIN.to_owned(),
        interchange,
    });
    let answer = house.api.import_protection(request).await?;
    Ok(answer.into_inner().validators)
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn only_silent_validators_are_exported_with_all_that_they_signed(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(2).await;
    let node = house.node(&keys).await;
    for slot in [3, 5] {
        house.sign(node, 1, keys[0], Message::Block { slot }).await;
        let vote = Message::Attestation {
            source: slot,
            target: slot + 1,
        };
        house.sign(node, 1, keys[0], vote).await;
    }
    let active = export(&house, &keys, false).await.unwrap_err();
    assert_eq!(reason(&active), "VALIDATOR_ACTIVE");
    for key in &keys {
        assert!(active.message().contains(&key.to_string()), "{active}");
    }
    assert_eq!(export(&house, &[], false).await.unwrap()["data"], json!([]));

    house.disable(&keys[0]).await.unwrap();
    // What is imported stands beside what was signed.
    import(&house, interchange(GENESIS_ROOT, &keys[0], 9, (0, 0)))
        .await
        .unwrap();
    let root = Root([1; 32]).to_string();
    let complete = export(&house, &keys[..1], false).await.unwrap();
    assert_eq!(
        complete["metadata"]["genesis_validators_root"],
        GENESIS_ROOT.to_string()
    );
    let record = &complete["data"][0];
    assert_eq!(record["pubkey"], keys[0].to_string());
    assert_eq!(
        record["signed_blocks"],
        json!([
            { "slot": "3", "signing_root": root },
            { "slot": "5", "signing_root": root },
            { "slot": "9" },
        ])
    );
    assert_eq!(record["signed_attestations"].as_array().unwrap().len(), 2);
    assert_eq!(export(&house, &[], false).await.unwrap(), complete);
    let minified = export(&house, &[], true).await.unwrap();
    let vote = json!([{ "source_epoch": "5", "target_epoch": "6", "signing_root": root }]);
    assert_eq!(
        minified["data"][0]["signed_blocks"],
        json!([{ "slot": "9" }])
    );
    assert_eq!(minified["data"][0]["signed_attestations"], vote);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_import_raises_watermarks_of_the_accounts_validators_alone(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(1).await;
    let known = async || house.status(&keys[0]).await.watermarks.unwrap();
    let first = interchange(GENESIS_ROOT, &keys[0], 7, (3, 4));
    assert_eq!(import(&house, first).await.unwrap(), 1);
    let lower = interchange(GENESIS_ROOT, &keys[0], 6, (2, 9));
    import(&house, lower).await.unwrap();
    let after = known().await;
    assert_eq!(after.block_slot, Some(7));
    assert_eq!((after.source_epoch, after.target_epoch), (Some(3), Some(9)));
    let unknown = interchange(GENESIS_ROOT, &PublicKey([8; 48]), 7, (3, 4));
    assert_eq!(import(&house, unknown).await.unwrap(), 0);
    let elsewhere = interchange(Root([9; 32]), &keys[0], 99, (98, 99));
    let refused = import(&house, elsewhere).await.unwrap_err();
    assert_eq!(fields(&refused), ["metadata.genesis_validators_root"]);
    assert_eq!(known().await, after);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_exported_key_signs_again_by_its_owners_word_or_with_what_it_signed_since(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(1).await;
    let enable = async |fresh| {
        let request = house.call(pb::EnableValidatorRequest {
            request_id: id(),
            public_key: keys[0].to_string(),
            fresh,
        });
        house.api.enable_validator(request).await.map(drop)
    };
    let import_of = async |vote| {
        let known = interchange(GENESIS_ROOT, &keys[0], 7, vote);
        import(&house, known).await.unwrap();
    };
    import_of((3, 4)).await;
    house.disable(&keys[0]).await.unwrap();
    export(&house, &keys, true).await.unwrap();
    // What was exported says nothing of what came after it.
    import_of((3, 4)).await;
    let refused = enable(false).await.unwrap_err();
    assert_eq!(reason(&refused), "PROTECTION_EXPORTED");
    import_of((3, 5)).await;
    enable(false).await.unwrap();

    house.disable(&keys[0]).await.unwrap();
    enable(false).await.unwrap();
    house.disable(&keys[0]).await.unwrap();
    export(&house, &[], false).await.unwrap();
    let refused = enable(false).await.unwrap_err();
    assert_eq!(reason(&refused), "PROTECTION_EXPORTED");
    enable(true).await.unwrap();
    house.disable(&keys[0]).await.unwrap();
    enable(false).await.unwrap();
}
