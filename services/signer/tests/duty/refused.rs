//! What is refused, each by name.

use crate::line::Line;
use crate::made::public_key;
use crate::requests::request;
use crate::site::{Node, SLOT, Site, path, sign};
use berth_core::Fence;
use berth_signer::domain::refusal::Reason;
use berth_signer::domain::{Chain, Preset, PublicKey, Refusal};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

fn vote(chain: &Chain, slot: u64, source: u64) -> Value {
    let mut body = request(chain, "ATTESTATION", slot);
    body["attestation"]["source"]["epoch"] = json!(source.to_string());
    body
}

async fn start(db: PgPool) -> (Site, Node, Line) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.placement(node, Fence::FIRST).await;
    (site, node, line)
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn two_messages_that_are_slashable_together_are_never_both_signed(db: PgPool) {
    let (site, _, line) = start(db).await;
    let chain = &site.chain;
    let epoch = SLOT / 8;
    let block = request(chain, "BLOCK_V2", SLOT);
    sign(&line, 1, &block).await.signature();
    let mut other = block;
    other["beacon_block"]["block_header"]["state_root"] = json!(format!("0x{}", "ab".repeat(32)));
    sign(&line, 1, &other).await.refused(412, "DOUBLE_PROPOSAL");
    let earlier = request(chain, "BLOCK_V2", SLOT - 1);
    let answer = sign(&line, 1, &earlier).await;
    answer.refused(412, "BLOCK_BELOW_WATERMARK");

    let last = vote(chain, SLOT - 8, epoch - 3);
    sign(&line, 1, &last).await.signature();
    let mut other = last.clone();
    other["attestation"]["index"] = json!("1");
    let answer = sign(&line, 1, &other).await;
    answer.refused(412, "DOUBLE_VOTE");
    let message = answer.json()["error"]["message"].to_string();
    let record = format!("last is {} → {}, root 0x", epoch - 3, epoch - 1);
    assert!(message.contains(&record), "{message}");
    let around = vote(chain, SLOT, epoch - 4);
    sign(&line, 1, &around).await.refused(412, "SURROUND");
    let next = vote(chain, SLOT, epoch - 3);
    sign(&line, 1, &next).await.signature();
    let within = vote(chain, SLOT - 8, epoch - 2);
    sign(&line, 1, &within).await.refused(412, "SURROUNDED");
    // What was signed is answered again while it is the last, and never after.
    sign(&line, 1, &next).await.signature();
    let answer = sign(&line, 1, &last).await;
    answer.refused(412, "VOTE_BELOW_WATERMARK");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_machine_signs_for_the_validators_of_its_node_alone(db: PgPool) {
    let (site, _, line) = start(db).await;
    let other = site.node([2]).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&line, 2, &body).await.refused(404, "UNKNOWN_KEY");
    sign(&line, 3, &body).await.refused(404, "UNKNOWN_KEY");
    let strange = path(&PublicKey([0xff; 48]));
    line.post(&strange, &body).await.refused(404, "UNKNOWN_KEY");
    let none = line.post("/api/v1/eth2/sign/0xzz", &body).await;
    none.refused(404, "UNKNOWN_KEY");
    let line = site.placement(other, Fence::FIRST).await;
    sign(&line, 2, &body).await.signature();
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn only_duties_of_the_present_and_of_the_pinned_chain_are_signed(db: PgPool) {
    let (site, _, line) = start(db).await;
    let chain = &site.chain;
    let vote = request(chain, "ATTESTATION", SLOT);
    let changed = |at: &str, to: Value| {
        let mut body = vote.clone();
        *body.pointer_mut(at).unwrap() = to;
        body
    };
    let zero = json!(format!("0x{}", "00".repeat(32)));
    // Its list of bits has the length of mainnet.
    let mainnet = crate::chain::chain(Preset::Mainnet);
    let contribution = request(&mainnet, "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", SLOT);
    let mut lie = vote.clone();
    lie["signingRoot"] = zero.clone();
    let mut exit = vote.clone();
    exit["type"] = json!("VOLUNTARY_EXIT");
    exit["voluntary_exit"] = json!({"epoch": "1", "validator_index": "1"});
    let mut deposit = vote.clone();
    deposit["type"] = json!("DEPOSIT");
    for (body, code, reason) in [
        (exit, 412, "TYPE_NOT_PERMITTED"),
        (deposit, 412, "TYPE_NOT_PERMITTED"),
        (changed("/type", json!("TEA")), 400, "UNKNOWN_TYPE"),
        (lie, 400, "WRONG_SIGNING_ROOT"),
        (
            changed("/fork_info/genesis_validators_root", zero),
            400,
            "WRONG_NETWORK",
        ),
        (
            changed("/fork_info/fork/current_version", json!("0x00000009")),
            400,
            "WRONG_FORK",
        ),
        (
            changed("/attestation/target/epoch", json!("124")),
            412,
            "BAD_VOTE",
        ),
        (request(chain, "BLOCK_V2", 1 << 40), 412, "FAR_FUTURE"),
        (request(chain, "ATTESTATION", SLOT + 2), 412, "FAR_FUTURE"),
        (request(chain, "ATTESTATION", SLOT - 9), 412, "FAR_PAST"),
        (contribution, 400, "WRONG_PRESET"),
        (json!({}), 400, "MALFORMED"),
        (json!([]), 400, "MALFORMED"),
        (json!("x"), 400, "MALFORMED"),
    ] {
        sign(&line, 1, &body).await.refused(code, reason);
    }
    // Nothing of it left a trace.
    sign(&line, 1, &vote).await.signature();
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_registration_is_signed_as_the_owner_set_it_alone(db: PgPool) {
    let (site, _, line) = start(db).await;
    let mut body = request(&site.chain, "VALIDATOR_REGISTRATION", SLOT);
    sign(&line, 1, &body).await.refused(400, "WRONG_PUBLIC_KEY");
    body["validator_registration"]["pubkey"] = json!(public_key(1));
    let mut paid = body.clone();
    paid["validator_registration"]["fee_recipient"] = json!(format!("0x{}", "ab".repeat(20)));
    sign(&line, 1, &paid).await.refused(412, "FEE_RECIPIENT");
    let mut more = body.clone();
    more["validator_registration"]["gas_limit"] = json!("30000001");
    sign(&line, 1, &more).await.refused(412, "GAS_LIMIT");
    sign(&line, 1, &body).await.signature();
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_silent_validator_a_missing_key_and_a_wrong_clock_are_named(db: PgPool) {
    let (site, node, line) = start(db).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    for (reason, name) in [
        (Reason::ClockSkew, "CLOCK_SKEW"),
        (Reason::NotAnchored, "NOT_ANCHORED"),
    ] {
        let present = site.present.lock().unwrap().clone();
        site.set(Err(Refusal::new(reason, "as the test says")));
        sign(&line, 1, &body).await.refused(503, name);
        site.set(present);
    }
    site.row(node, 2).await;
    sign(&line, 2, &body).await.refused(503, "KEY_NOT_LOADED");
    let marks: Option<i64> =
        sqlx::query_scalar("select target_epoch from validator where public_key = $1")
            .bind(&public_key(2).0[..])
            .fetch_one(&site.db)
            .await
            .unwrap();
    assert_eq!(marks, None, "what is not signed is not recorded");
    sign(&line, 1, &body).await.signature();
    for (state, reason) in [("quarantined", "QUARANTINED"), ("disabled", "DISABLED")] {
        // The row says it: whatever the roster still believes.
        sqlx::query("update validator set state = $1")
            .bind(state)
            .execute(&site.db)
            .await
            .unwrap();
        sign(&line, 1, &body).await.refused(412, reason);
    }
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_refusal_is_logged_with_its_conflict_and_a_flood_of_them_is_only_counted(db: PgPool) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (site, node, line) = start(db).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&line, 1, &body).await.signature();
    let mut other = body;
    other["attestation"]["index"] = json!("1");
    let begun = Instant::now();
    for _ in 0..60 {
        sign(&line, 1, &other).await.refused(412, "DOUBLE_VOTE");
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let logged: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["reason"] == "DOUBLE_VOTE")
        .collect();
    let first = &logged[0];
    assert_eq!(first["level"], "WARN");
    assert_eq!(first["public_key"], json!(public_key(1)));
    assert_eq!(first["node_id"], node.id.to_string());
    assert_eq!(first["fence"], "1");
    assert!(first["detail"].as_str().unwrap().contains("last is "));
    // Eight at once, then one a second.
    let most = 9 + begun.elapsed().as_secs();
    assert!(logged.len() as u64 <= most, "{} of {most}", logged.len());
    let metrics = site.service("monitoring").await.get("/metrics").await;
    let counted = "signer_refusals_total{reason=\"DOUBLE_VOTE\"} 60\n";
    assert!(metrics.text.contains(counted), "{}", metrics.text);
}
