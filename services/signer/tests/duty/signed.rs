//! What is signed.

use crate::chain::{STRICT, begin, schedule};
use crate::line::connect;
use crate::made::public_key;
use crate::requests::{KINDS, request};
use crate::site::{SLOT, Site, path, sign};
use crate::vectors::folder;
use berth_core::Fence;
use berth_signer::domain::eth::SignRequest;
use berth_signer::domain::{Chain, ForkName, Preset, Root};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The root that is to be signed for a body.
fn root(chain: &Chain, body: &Value, now: u64) -> Root {
    let request = SignRequest::parse(body.to_string().as_bytes()).unwrap();
    request.check(chain, &STRICT, now).unwrap().1
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn every_duty_is_signed_and_the_same_again_is_answered_the_same(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.placement(node, Fence::FIRST).await;
    for kind in KINDS {
        let mut body = request(&site.chain, kind, SLOT);
        let registration = kind == "VALIDATOR_REGISTRATION";
        if registration {
            body["validator_registration"]["pubkey"] = json!(public_key(1));
        }
        let signature = sign(&line, 1, &body).await.signature();
        assert_eq!(sign(&line, 1, &body).await.signature(), signature, "{kind}");
        if !registration {
            let root = root(&site.chain, &body, begin(&site.chain, SLOT));
            let signed = public_key(1).signed(&root, &signature.parse().unwrap());
            assert!(signed, "{kind}");
        }
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn what_a_real_client_sent_is_signed(db: PgPool) {
    let Some(folder) = folder("web3signer", "requests recorded from Lodestar 1.5.1") else {
        return;
    };
    let devnet = Chain {
        name: "ethereum-devnet".to_owned(),
        genesis_validators_root:
            "0x05d79a31a8e69ecd78114c50ce73116be33027d8431b82fff6c0b3cd9c2cbb1f"
                .parse()
                .unwrap(),
        genesis_time: 1_600_000_000,
        seconds_per_slot: 1,
        preset: Preset::Minimal,
        forks: schedule([(ForkName::Phase0, 0), (ForkName::Altair, 0)].into_iter()),
    };
    let site = Site::on(db, devnet).await;
    let recorded: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .map(|text| serde_json::from_str::<Value>(&text).unwrap()["body"].take())
        .collect();
    // A key of its own for each: they come in no order.
    let numbers = 1..=u8::try_from(recorded.len()).unwrap();
    let node = site.node(numbers.clone()).await;
    let line = site.placement(node, Fence::FIRST).await;
    for (number, body) in numbers.zip(&recorded) {
        // Some were recorded at the first slot, some an epoch later.
        let mut answers = Vec::new();
        for slot in [0, 8, 16, 24] {
            site.set(Ok(begin(&site.chain, slot)));
            answers.push(sign(&line, number, body).await);
        }
        let signed = answers.iter().find(|answer| answer.code == 200);
        let signature = signed.unwrap_or_else(|| panic!("{answers:?}")).signature();
        let root: Root = body["signingRoot"].as_str().unwrap().parse().unwrap();
        assert!(public_key(number).signed(&root, &signature.parse().unwrap()));
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn answers_come_in_the_form_that_is_asked_for(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1, 2]).await;
    let line = site.placement(node, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    let ask = async |accept, body: &Value| {
        let path = path(&public_key(1));
        line.ask("POST", &path, Some(accept), body.to_string())
            .await
    };
    let signature = ask("*/*", &body).await.signature();
    assert_eq!(ask("application/json", &body).await.signature(), signature);
    let text = ask("text/plain", &body).await;
    assert_eq!(text.text, signature);
    assert_eq!(text.headers["content-type"], "text/plain; charset=utf-8");
    let mut other = body;
    other["attestation"]["index"] = json!("1");
    ask("*/*", &other).await.refused(412, "DOUBLE_VOTE");
    let text = ask("text/plain", &other).await;
    assert_eq!(text.code, 412);
    assert!(text.text.starts_with("DOUBLE_VOTE: vote "), "{text:?}");

    let up = line.get("/upcheck").await;
    assert_eq!(up.json(), json!({ "status": "OK" }));
    let up = line.ask("GET", "/upcheck", Some("text/plain"), String::new());
    assert_eq!(up.await.text, "OK");
    let mut keys = [public_key(1), public_key(2)];
    keys.sort();
    let another = site.node([3]).await;
    let shown = line.get("/api/v1/eth2/publicKeys").await;
    assert_eq!(shown.json(), json!(keys));
    let line = site.placement(another, Fence::FIRST).await;
    let shown = line.get("/api/v1/eth2/publicKeys").await;
    assert_eq!(shown.json(), json!([public_key(3)]));
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_client_of_http_1_is_signed_too(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let issued = site.certificate(node, Fence::FIRST);
    let mut stream = connect(&site.pki, site.duty, &issued, b"http/1.1").await;
    let body = request(&site.chain, "ATTESTATION", SLOT).to_string();
    let (path, length) = (path(&public_key(1)), body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: signer\r\naccept: */*\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The other side may close without a farewell.
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(r#"{"signature":"0x"#), "{answer}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_burst_is_answered_whole_and_shares_commits(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node(1..=120).await;
    let line = site.placement(node, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    let root = root(&site.chain, &body, begin(&site.chain, SLOT));
    let answers = join_all((1..=120).map(|number| sign(&line, number, &body))).await;
    for (number, answer) in (1..=120).zip(answers) {
        let signature = answer.signature().parse().unwrap();
        assert!(public_key(number).signed(&root, &signature), "{number}");
    }
    let statements: i64 = sqlx::query_scalar("select count(distinct transaction) from signature")
        .fetch_one(&site.db)
        .await
        .unwrap();
    assert!(statements < 120, "{statements}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn without_vault_what_is_loaded_goes_on_signing(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.placement(node, Fence::FIRST).await;
    site.vault.stop().await;
    site.roster.reload();
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&line, 1, &body).await.signature();
}
