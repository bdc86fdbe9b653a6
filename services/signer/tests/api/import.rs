//! Keys that owners bring.

use crate::house::{CHAIN, GENESIS_ROOT, House, by, fields, id, interchange, reason};
use crate::made::{self, PASSWORD, key, public_key};
use crate::vault::Server;
use berth_core::{AccountId, Error};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::imported_key::Outcome;
use berth_proto::signing::v1::signing_service_server::SigningService as _;
use berth_proto::signing::v1::validator_status::State;
use berth_signer::domain::Root;
use berth_signer::domain::keystore::Keystore;
use berth_signer::keyring::Keyring;
use berth_signer::keys::{Import, Imported, Keys, Wish};
use berth_signer::store::chains;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use uuid::Uuid;

async fn request(house: &House, numbers: &[u8], fresh: bool) -> pb::ImportKeysRequest {
    pb::ImportKeysRequest {
        request_id: id(),
        chain: CHAIN.to_owned(),
        keystores: house.sealed(numbers).await,
        interchange: String::new(),
        fresh,
        fee_recipient: format!("0x{}", "0a".repeat(20)),
        gas_limit: 30_000_000,
    }
}

fn outcomes(keys: &[pb::ImportedKey]) -> Vec<Outcome> {
    keys.iter().map(pb::ImportedKey::outcome).collect()
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn each_keystore_has_its_outcome_and_the_same_request_the_same_again(db: PgPool) {
    use Outcome::{Duplicate, Imported, Refused};
    let house = House::new(db).await;
    house
        .import(&request(&house, &[1], true).await)
        .await
        .unwrap();
    let mut wanted = request(&house, &[1, 2], true).await;
    let wrong = json!({ "keystore": made::keystore(3), "password": "wrong" });
    wanted
        .keystores
        .push(house.seal(house.account, &wrong.to_string()).await);
    let foreign = made::content(&made::keystore(4));
    wanted
        .keystores
        .push(house.seal(AccountId::generate(), &foreign).await);
    wanted.keystores.extend(house.sealed(&[5]).await);
    let keys = house.import(&wanted).await.unwrap();
    assert_eq!(
        outcomes(&keys),
        [Duplicate, Imported, Refused, Refused, Imported]
    );
    let named: Vec<_> = keys.iter().map(|one| one.public_key.clone()).collect();
    let expected = [1, 2, 3, 5].map(|number| public_key(number).to_string());
    assert_eq!([&named[..3], &named[4..]].concat(), expected);
    assert!(keys[2].problem.contains("password"), "{keys:?}");
    assert_eq!(keys[4].index, 4);
    assert_eq!(house.import(&wanted).await.unwrap(), keys);

    let imported = house.get(&public_key(2)).await;
    let spec = imported.spec.unwrap();
    assert_eq!((spec.chain.as_str(), spec.gas_limit), (CHAIN, 30_000_000));
    assert_eq!(spec.fee_recipient, wanted.fee_recipient);
    assert_eq!(imported.status.unwrap().state(), State::Active);
    assert!(house.keyring.obtain(&public_key(2)).await.is_ok());
    let other = pb::ImportKeysRequest {
        gas_limit: 1,
        ..wanted
    };
    let reused = house.import(&other).await.unwrap_err();
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_history_without_votes_lets_no_key_sign(db: PgPool) {
    let house = House::new(db).await;
    let whole = interchange(GENESIS_ROOT, &public_key(1), 7, (3, 4));
    for (number, blocks) in [(1, json!([])), (2, json!([{ "slot": "7" }]))] {
        let mut file: Value = serde_json::from_str(&whole).unwrap();
        file["data"][0] = json!({
            "pubkey": public_key(number),
            "signed_blocks": blocks,
            "signed_attestations": [],
        });
        let silent = pb::ImportKeysRequest {
            interchange: file.to_string(),
            ..request(&house, &[number], false).await
        };
        house.import(&silent).await.unwrap();
        let status = house.status(&public_key(number)).await;
        assert_eq!(status.state(), State::Quarantined, "{blocks}");
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_key_whose_row_was_lost_signs_above_all_that_it_may_have_signed(db: PgPool) {
    let house = House::new(db).await;
    // What a database that was restored finds: the key, and no row of it.
    house.keyring.store(&key(1)).await.unwrap();
    let brought = request(&house, &[1, 2], true).await;
    house.import(&brought).await.unwrap();
    let now = berth_core::now().timestamp().unsigned_abs();
    let known = house.status(&public_key(1)).await.watermarks.unwrap();
    assert!(known.block_slot >= Some(now), "{known:?}");
    assert!(known.target_epoch >= Some(now / 8), "{known:?}");
    let known = house.status(&public_key(2)).await.watermarks.unwrap();
    assert_eq!(known, pb::Watermarks::default());
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_key_of_unknown_past_waits_and_one_with_its_history_signs_above_it(db: PgPool) {
    let house = House::new(db).await;
    house
        .import(&request(&house, &[1], false).await)
        .await
        .unwrap();
    let status = house.status(&public_key(1)).await;
    assert_eq!(status.state(), State::Quarantined);
    assert!(
        status.status_reason.contains("used nowhere else"),
        "{status:?}"
    );

    let covered = pb::ImportKeysRequest {
        interchange: interchange(GENESIS_ROOT, &public_key(2), 7, (3, 4)),
        ..request(&house, &[2, 3], false).await
    };
    house.import(&covered).await.unwrap();
    let status = house.status(&public_key(2)).await;
    assert_eq!(status.state(), State::Active);
    let known = status.watermarks.unwrap();
    assert_eq!((known.block_slot, known.target_epoch), (Some(7), Some(4)));
    assert_eq!(
        house.status(&public_key(3)).await.state(),
        State::Quarantined
    );

    // What is here keeps its state, and of each watermark the higher.
    let again = pb::ImportKeysRequest {
        interchange: interchange(GENESIS_ROOT, &public_key(2), 5, (3, 9)),
        ..request(&house, &[1, 2], true).await
    };
    let keys = house.import(&again).await.unwrap();
    assert_eq!(outcomes(&keys), [Outcome::Duplicate; 2]);
    assert_eq!(
        house.status(&public_key(1)).await.state(),
        State::Quarantined
    );
    let known = house.status(&public_key(2)).await.watermarks.unwrap();
    assert_eq!((known.block_slot, known.target_epoch), (Some(7), Some(9)));
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn another_accounts_key_and_another_networks_history_are_refused(db: PgPool) {
    let house = House::new(db).await;
    house
        .import(&request(&house, &[1], true).await)
        .await
        .unwrap();
    let thief = AccountId::generate();
    let content = made::content(&made::keystore(1));
    let stolen = pb::ImportKeysRequest {
        keystores: vec![house.seal(thief, &content).await],
        ..request(&house, &[], true).await
    };
    let answer = house.api.import_keys(by(thief, stolen)).await.unwrap();
    let keys = answer.into_inner().keys;
    assert_eq!(outcomes(&keys), [Outcome::Refused]);
    assert_eq!(keys[0].problem, "this signer does not take the key");

    let elsewhere = pb::ImportKeysRequest {
        interchange: interchange(Root([9; 32]), &public_key(2), 7, (3, 4)),
        ..request(&house, &[2], false).await
    };
    let refused = house.import(&elsewhere).await.unwrap_err();
    assert_eq!(fields(&refused), ["metadata.genesis_validators_root"]);
    let malformed = pb::ImportKeysRequest {
        chain: String::new(),
        fee_recipient: "0x12".to_owned(),
        gas_limit: u64::MAX,
        ..request(&house, &[], false).await
    };
    let refused = house.import(&malformed).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        ["keystores", "chain", "fee_recipient", "gas_limit"]
    );
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn keys_that_come_in_many_requests_at_once_are_imported_by_one(db: PgPool) {
    let house = Arc::new(House::new(db).await);
    let (one, other) = (
        request(&house, &[1, 2], true).await,
        request(&house, &[2, 1], true).await,
    );
    let mut tasks = JoinSet::new();
    for wanted in [&one, &other, &one, &other] {
        let (house, wanted) = (Arc::clone(&house), wanted.clone());
        tasks.spawn(async move {
            let keys = house.import(&wanted).await.unwrap();
            (wanted.request_id, keys)
        });
    }
    let answers = tasks.join_all().await;
    for number in [1, 2] {
        let named = public_key(number).to_string();
        let of = |keys: &[pb::ImportedKey]| {
            let mut keys = keys.iter();
            keys.find(|one| one.public_key == named).unwrap().outcome()
        };
        let importers: Vec<_> = answers
            .iter()
            .filter(|(_, keys)| of(keys) == Outcome::Imported)
            .map(|(request, _)| request.as_str())
            .collect();
        assert_eq!(importers.len(), 2, "{answers:?}");
        assert_eq!(importers[0], importers[1], "{answers:?}");
        assert_eq!(
            house.status(&public_key(number)).await.state(),
            State::Active
        );
    }
}

/// Each import ends where Vault is gone or where the process is killed; what
/// comes then is the same import again.
#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_import_that_was_cut_off_signs_nothing_and_the_same_again_ends_it(db: PgPool) {
    let house = House::new(db).await;
    let gone = Server::start().await;
    let vault = gone.login("signer").await;
    gone.stop().await;
    let database_id: Uuid = sqlx::query_scalar("select database_id from identity")
        .fetch_one(&house.db)
        .await
        .unwrap();
    let without = Keys::new(house.db.clone(), Arc::new(Keyring::new(vault, database_id)));
    let mut conn = house.db.acquire().await.unwrap();
    let import = Import {
        account_id: house.account,
        request_id: Uuid::now_v7(),
        chain: chains::get(&mut conn, CHAIN).await.unwrap(),
        interchange: BTreeMap::new(),
        fresh: true,
        wish: Wish::default(),
    };
    drop(conn);
    let take = async |keys: &Keys, number| {
        let keystore = Keystore::from_json(made::keystore(number)).unwrap();
        keys.import(&import, keystore, PASSWORD.into()).await
    };
    for number in [1, 2] {
        let cut = take(&without, number).await.unwrap_err();
        assert!(matches!(cut, Error::Unavailable(_)), "{cut}");
        let status = house.status(&public_key(number)).await;
        assert_eq!(status.state(), State::Quarantined);
        let enable = house.call(pb::EnableValidatorRequest {
            request_id: id(),
            public_key: public_key(number).to_string(),
            fresh: true,
        });
        let refused = house.api.enable_validator(enable).await.unwrap_err();
        assert_eq!(reason(&refused), "VALIDATOR_STATE");
    }
    // The second was killed after its key came to Vault, both days ago.
    house.keyring.store(&key(2)).await.unwrap();
    sqlx::query("update validator set quarantine_time = now() - interval '3 days'")
        .execute(&house.db)
        .await
        .unwrap();
    for _ in 0..2 {
        for number in [1, 2] {
            let taken = take(house.api.keys(), number).await.unwrap();
            assert_eq!(taken, Imported::New(public_key(number)));
            let status = house.status(&public_key(number)).await;
            assert_eq!(status.state(), State::Active);
        }
    }
    let came: bool = sqlx::query_scalar(
        "select bool_and(quarantine_time > now() - interval '1 day') from validator",
    )
    .fetch_one(&house.db)
    .await
    .unwrap();
    assert!(
        came,
        "quarantine begins when the key comes, not with its row"
    );
    // What its owner did since then stays.
    house.disable(&public_key(1)).await.unwrap();
    take(house.api.keys(), 1).await.unwrap();
    assert_eq!(house.status(&public_key(1)).await.state(), State::Disabled);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_removed_key_does_not_come_back(db: PgPool) {
    let house = House::new(db).await;
    house
        .import(&request(&house, &[1], false).await)
        .await
        .unwrap();
    let public_key = public_key(1).to_string();
    let remove = house.call(pb::RemoveValidatorRequest {
        request_id: id(),
        public_key: public_key.clone(),
        confirmation: public_key,
    });
    house.api.remove_validator(remove).await.unwrap();
    let keys = house
        .import(&request(&house, &[1], true).await)
        .await
        .unwrap();
    assert_eq!(outcomes(&keys), [Outcome::Refused]);
    assert!(keys[0].problem.contains("removed"), "{keys:?}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_key_that_signers_on_another_database_hold_is_refused_and_signs_nothing(db: PgPool) {
    let house = House::new(db).await;
    let elsewhere = Keyring::new(house.server.login("signer").await, Uuid::from_u128(1));
    elsewhere.store(&key(1)).await.unwrap();
    let wanted = request(&house, &[1, 2], true).await;
    for _ in 0..2 {
        let keys = house.import(&wanted).await.unwrap();
        assert_eq!(outcomes(&keys), [Outcome::Refused, Outcome::Imported]);
        assert!(keys[0].problem.contains("another") || keys[0].problem.contains("database"));
    }
    let status = house.status(&public_key(1)).await;
    assert_eq!(status.state(), State::Quarantined);
}
