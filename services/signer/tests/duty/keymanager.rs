//! Keystores and settings of an account, over the Keymanager API.

use crate::line::{Answer, Line};
use crate::made::{PASSWORD, keystore, public_key};
use crate::requests::request;
use crate::site::{SLOT, Site, sign};
use berth_core::{AccountId, Fence};
use berth_signer::domain::{Root, Watermarks, interchange};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeMap;

const KEYSTORES: &str = "/eth/v1/keystores";

async fn owner(site: &Site, account: AccountId) -> Line {
    site.service("gateway").await.of(account)
}

/// The status of each.
#[track_caller]
fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.code, 200, "{answer:?}");
    let data = answer.json()["data"].as_array().unwrap().clone();
    let status = |one: &Value| one["status"].as_str().unwrap().to_owned();
    data.iter().map(status).collect()
}

async fn listed(line: &Line) -> Vec<Value> {
    let answer = line.get(KEYSTORES).await.json();
    let data = answer["data"].as_array().unwrap();
    data.iter()
        .map(|one| one["validating_pubkey"].clone())
        .collect()
}

async fn state(site: &Site, number: u8) -> String {
    sqlx::query_scalar("select state from validator where public_key = $1")
        .bind(&public_key(number).0[..])
        .fetch_one(&site.db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn keystores_come_with_their_past_or_wait(db: PgPool) {
    let site = Site::start(db).await;
    let account = AccountId::generate();
    let line = owner(&site, account).await;
    let text = |number| keystore(number).to_string();
    let body = json!({
        "keystores": [text(1), text(2), "tea"],
        "passwords": [PASSWORD, "wrong", PASSWORD],
    });
    let answer = line.post(KEYSTORES, &body).await;
    assert_eq!(statuses(&answer), ["imported", "error", "error"]);
    let message = answer.json()["data"][0]["message"].to_string();
    assert!(message.contains("QUARANTINED"), "{message}");
    assert_eq!(state(&site, 1).await, "quarantined");

    let voted = Watermarks {
        vote: Some((1, 2)),
        ..Watermarks::default()
    };
    let past = BTreeMap::from([(public_key(2), voted)]);
    let protection = interchange::minified(site.chain.genesis_validators_root, &past).unwrap();
    let mut body = json!({
        "keystores": [text(1), text(2)],
        "passwords": [PASSWORD, PASSWORD],
        "slashing_protection": protection,
    });
    let answer = line.post(KEYSTORES, &body).await;
    assert_eq!(statuses(&answer), ["duplicate", "imported"]);
    assert_eq!(state(&site, 2).await, "active");
    let mut keys = vec![json!(public_key(1)), json!(public_key(2))];
    keys.sort_by_key(Value::to_string);
    assert_eq!(listed(&line).await, keys);
    // Nobody else sees them, or takes them over.
    let other = owner(&site, AccountId::generate()).await;
    assert_eq!(listed(&other).await, Vec::<Value>::new());
    assert_eq!(
        statuses(&other.post(KEYSTORES, &body).await),
        ["error", "error"]
    );

    let strange = interchange::minified(Root([9; 32]), &past).unwrap();
    body["slashing_protection"] = json!(strange);
    assert_eq!(line.post(KEYSTORES, &body).await.code, 400);
    body["slashing_protection"] = json!(null);
    body["passwords"] = json!([PASSWORD]);
    assert_eq!(line.post(KEYSTORES, &body).await.code, 400);
    body["passwords"] = json!([12_345]);
    let answer = line.post(KEYSTORES, &body).await;
    assert_eq!(answer.code, 400);
    assert!(!answer.text.contains("12345"), "{answer:?}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn what_keystores_and_their_past_say_besides_is_ignored(db: PgPool) {
    let site = Site::start(db).await;
    let line = owner(&site, AccountId::generate()).await;
    let voted = Watermarks {
        vote: Some((1, 2)),
        ..Watermarks::default()
    };
    let past = BTreeMap::from([(public_key(1), voted)]);
    let protection = interchange::minified(site.chain.genesis_validators_root, &past).unwrap();
    let mut protection: Value = serde_json::from_str(&protection).unwrap();
    protection["wish"] = json!(1);
    protection["metadata"]["wish"] = json!("tea");
    protection["data"][0]["wish"] = json!([]);
    protection["data"][0]["signed_attestations"][0]["wish"] = json!({});
    let mut keystore = keystore(1);
    keystore["wish"] = json!(1);
    keystore["crypto"]["wish"] = json!("tea");
    keystore["crypto"]["kdf"]["params"]["wish"] = json!([]);
    let body = json!({
        "keystores": [keystore.to_string()],
        "passwords": [PASSWORD],
        "slashing_protection": protection.to_string(),
        "wish": { "deep": null },
    });
    assert_eq!(statuses(&line.post(KEYSTORES, &body).await), ["imported"]);
    assert_eq!(state(&site, 1).await, "active");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_keystore_that_is_deleted_signs_no_more_and_leaves_its_past(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1, 2]).await;
    let machine = site.placement(node, Fence::FIRST).await;
    let line = owner(&site, node.account).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&machine, 1, &body).await.signature();

    let keys = json!({"pubkeys": [public_key(1), public_key(3)]});
    let delete = async |line: &Line| {
        let body = keys.to_string();
        line.ask("DELETE", KEYSTORES, None, body).await
    };
    let other = owner(&site, AccountId::generate()).await;
    assert_eq!(statuses(&delete(&other).await), ["not_found", "not_found"]);
    sign(&machine, 1, &body).await.signature();

    let answer = delete(&line).await;
    assert_eq!(statuses(&answer), ["deleted", "not_found"]);
    sign(&machine, 1, &body).await.refused(412, "DISABLED");
    sign(&machine, 2, &body).await.signature();
    let read = |answer: &Answer| {
        let text = answer.json()["slashing_protection"]
            .as_str()
            .unwrap()
            .to_owned();
        interchange::parse(&text, site.chain.genesis_validators_root).unwrap()
    };
    let past = read(&answer);
    let epoch = SLOT / 8;
    assert_eq!(past[&public_key(1)].vote, Some((epoch - 1, epoch)));
    assert_eq!(past.len(), 1);
    assert_eq!(listed(&line).await, [json!(public_key(2))]);
    let again = delete(&line).await;
    assert_eq!(statuses(&again), ["not_active", "not_found"]);
    assert_eq!(read(&again), past);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn fee_recipient_and_gas_limit_are_set_by_the_owner(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = owner(&site, node.account).await;
    let key = public_key(1);
    let other = owner(&site, AccountId::generate()).await;
    let nobody = site.service("gateway").await;
    for (name, field, value, wrong) in [
        (
            "feerecipient",
            "ethaddress",
            format!("0x{}", "ab".repeat(20)),
            format!("0x{}", "00".repeat(20)),
        ),
        (
            "gas_limit",
            "gas_limit",
            "36000000".to_owned(),
            "-1".to_owned(),
        ),
    ] {
        let path = format!("/eth/v1/validator/{key}/{name}");
        assert_eq!(line.get(&path).await.code, 200);
        let answer = line.post(&path, &json!({ field: value })).await;
        assert_eq!((answer.code.as_u16(), &*answer.text), (202, ""));
        let set = json!({"data": {"pubkey": key, field: value}});
        assert_eq!(line.get(&path).await.json(), set);
        let answer = line.post(&path, &json!({ field: wrong })).await;
        assert_eq!(answer.code, 400);
        assert!(answer.json()["message"].is_string());
        assert_eq!(line.post(&path, &json!({})).await.code, 400);
        assert_eq!(other.get(&path).await.code, 404);
        assert_eq!(other.post(&path, &json!({ field: value })).await.code, 404);
        assert_eq!(nobody.get(&path).await.code, 401);
        assert_eq!(line.get(&path).await.json(), set);
        let answer = line.ask("DELETE", &path, None, String::new()).await;
        assert_eq!(answer.code, 204);
        assert_eq!(line.get(&path).await.code, 404);
    }
    let strange = "/eth/v1/validator/0x12/gas_limit";
    assert_eq!(line.get(strange).await.code, 400);
}
