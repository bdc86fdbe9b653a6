//! The public interchange tests: each message gets the verdict that its vector
//! names, also after export and import into rows that saw none of it.

use crate::support::{BLOCK, Node, VOTE};
use crate::vault::Server;
use berth_signer::domain::{
    Chain, Claim, Fork, ForkName, ForkVersion, Message, Preset, PublicKey, Root, Schedule,
    interchange,
};
use berth_signer::keyring::Keyring;
use berth_signer::keys::{Extent, Keys};
use berth_signer::store::{decide::decide, history, seals};
use serde::Deserialize;
use sqlx::PgPool;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Deserialize)]
struct Vector {
    name: String,
    genesis_validators_root: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    should_succeed: bool,
    interchange: serde_json::Value,
    blocks: Vec<Asked>,
    attestations: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    pubkey: String,
    slot: Option<String>,
    source_epoch: Option<String>,
    target_epoch: Option<String>,
    signing_root: Option<String>,
    should_succeed: bool,
}

impl Asked {
    fn message(&self) -> Message {
        let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
        match self.slot {
            Some(_) => BLOCK(number(&self.slot)),
            None => VOTE(number(&self.source_epoch), number(&self.target_epoch)),
        }
    }
}

fn vectors() -> Vec<serde_json::Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
    let root = std::env::var_os("BERTH_TEST_VECTORS").map_or_else(|| beside.into(), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(root.join("eip3076")) else {
        println!(
            "not at hand: EIP-3076 vectors, of eth-clients/slashing-protection-interchange-tests"
        );
        return Vec::new();
    };
    folder
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .map(|text| serde_json::from_slice(&text).unwrap())
        .collect()
}

async fn import(db: &PgPool, node: &Node, text: &str, root: Root) -> bool {
    let Ok(read) = interchange::parse(text, root) else {
        return false;
    };
    history::raise(
        &mut db.acquire().await.unwrap(),
        node.account,
        "devnet",
        &read,
    )
    .await
    .unwrap();
    true
}

async fn export(db: &PgPool, keys: &Keys, node: &Node, root: Root, extent: Extent) -> String {
    let state = |state| {
        sqlx::query("update validator set state = $2 where account_id = $1")
            .bind(node.account)
            .bind(state)
    };
    state("disabled").execute(db).await.unwrap();
    let text = keys.export(node.account, &chain(root), &[], extent).await;
    state("active").execute(db).await.unwrap();
    text.unwrap()
}

fn chain(genesis_validators_root: Root) -> Chain {
    let genesis = Fork {
        name: ForkName::Phase0,
        epoch: 0,
        version: ForkVersion([0; 4]),
    };
    Chain {
        name: "devnet".to_owned(),
        genesis_validators_root,
        genesis_time: 0,
        seconds_per_slot: 12,
        preset: Preset::Minimal,
        forks: Schedule::try_from(vec![genesis]).unwrap(),
    }
}

/// As a signer that saw none of it.
async fn forget(db: &PgPool) {
    sqlx::raw_sql(
        "alter table validator disable trigger validator_watermark_only_grows;
         update validator set block_slot = null, block_root = null, source_epoch = null,
             target_epoch = null, attestation_root = null;
         alter table validator enable trigger validator_watermark_only_grows",
    )
    .execute(db)
    .await
    .unwrap();
}

/// A vector with keys of its own, so that one database serves all of them.
fn keyed(vector: &serde_json::Value, number: usize) -> String {
    let mut text = vector.to_string();
    let mut at = 0;
    while let Some(found) = text[at..].find(r#""pubkey":"0x"#) {
        at += found + r#""pubkey":"0x"#.len();
        text.replace_range(at..at + 4, &format!("{number:04x}"));
    }
    text
}

async fn signed(db: &PgPool, node: &Node, asked: &Asked) -> bool {
    let root = asked
        .signing_root
        .as_ref()
        .map_or(Root([0; 32]), |root| root.parse().unwrap());
    let key = asked.pubkey.parse().unwrap();
    let claim = Claim {
        root,
        ..node.claim(key, asked.message(), 0)
    };
    decide(db, &[claim]).await.unwrap()[0].is_ok()
}

async fn add_all(db: &PgPool, node: &Node, vector: &Vector) {
    for step in &vector.steps {
        let imported = step.interchange["data"].as_array().unwrap().iter();
        let imported = imported.map(|record| record["pubkey"].as_str().unwrap());
        let asked = step
            .blocks
            .iter()
            .chain(&step.attestations)
            .map(|asked| asked.pubkey.as_str());
        for key in imported.chain(asked) {
            node.add(db, key.parse::<PublicKey>().unwrap()).await;
        }
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn every_public_vector_gets_its_verdict_also_after_export_and_import(db: PgPool) {
    let server = Server::start().await;
    let database_id = seals::database_id(&db).await.unwrap();
    let keyring = Keyring::new(server.login("signer").await, database_id);
    let keys = Keys::new(db.clone(), Arc::new(keyring));
    for (number, vector) in vectors().into_iter().enumerate() {
        let ways = [None, Some(Extent::Complete), Some(Extent::Minified)];
        for (way, exported) in ways.into_iter().enumerate() {
            let text = keyed(&vector, 3 * number + way);
            let vector = serde_json::from_str(&text).unwrap();
            run(&db, &keys, &vector, exported).await;
        }
    }
}

async fn run(db: &PgPool, keys: &Keys, vector: &Vector, exported: Option<Extent>) {
    let name = &vector.name;
    let root = vector.genesis_validators_root.parse().unwrap();
    let node = Node::granted(db).await;
    add_all(db, &node, vector).await;
    for step in &vector.steps {
        let text = step.interchange.to_string();
        assert_eq!(
            import(db, &node, &text, root).await,
            step.should_succeed,
            "{name}"
        );
        if let Some(extent) = exported {
            let text = export(db, keys, &node, root, extent).await;
            forget(db).await;
            assert!(import(db, &node, &text, root).await, "{name}");
        }
        for asked in step.blocks.iter().chain(&step.attestations) {
            let message = asked.message();
            assert_eq!(
                signed(db, &node, asked).await,
                asked.should_succeed,
                "{name}: {message:?}"
            );
        }
    }
}
