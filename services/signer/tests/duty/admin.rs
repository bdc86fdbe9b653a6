//! What services see of the signer.

use crate::eventually::eventually;
use crate::requests::request;
use crate::site::{SLOT, Site, sign};
use berth_core::Fence;
use berth_signer::domain::Refusal;
use berth_signer::domain::refusal::Reason;
use serde_json::json;
use sqlx::PgPool;

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn health_says_what_keeps_the_signer_from_signing(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.service("monitoring").await;
    let health = line.get("/healthcheck").await;
    assert_eq!(health.code, 200, "{health:?}");
    assert_eq!(health.json()["status"], "UP");
    let present = site.present.lock().unwrap().clone();
    site.set(Err(Refusal::new(Reason::NotAnchored, "as the test says")));
    let health = line.get("/healthcheck").await;
    assert_eq!(health.code, 503, "{health:?}");
    assert_eq!(health.json()["checks"][1]["data"]["reason"], "NOT_ANCHORED");
    site.set(present);
    // One key that is in no Vault.
    site.row(node, 2).await;
    eventually("the missing key is seen", async || {
        let health = line.get("/healthcheck").await.json();
        let keys = json!({"keys-expected": 2, "keys-loaded": 1, "error-count": 1});
        (health["checks"][2]["data"] == keys && health["outcome"] == "DOWN").then_some(())
    })
    .await;
    site.db.close().await;
    let health = line.get("/healthcheck").await;
    assert_eq!(health.code, 503);
    assert_eq!(health.json()["checks"][0]["status"], "DOWN");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn services_see_metrics_and_the_high_watermark(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.service("monitoring").await;
    assert_eq!(
        line.get("/api/v1/eth2/highWatermark").await.json(),
        json!({})
    );
    let machine = site.placement(node, Fence::FIRST).await;
    for kind in ["ATTESTATION", "BLOCK_V2"] {
        let body = request(&site.chain, kind, SLOT);
        sign(&machine, 1, &body).await.signature();
    }
    let marks = line.get("/api/v1/eth2/highWatermark").await;
    let (slot, epoch) = (SLOT.to_string(), (SLOT / 8).to_string());
    assert_eq!(marks.json(), json!({"slot": slot, "epoch": epoch}));
    let metrics = line.get("/metrics").await.text;
    for line in [
        "signer_signatures_total{type=\"ATTESTATION\"} 1\n",
        "signer_signatures_total{type=\"RANDAO_REVEAL\"} 0\n",
        "signer_refusals_total{reason=\"DOUBLE_VOTE\"} 0\n",
        "signer_refusals_total{reason=\"SIGNER_BUSY\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let reload = line.ask("POST", "/reload", None, String::new()).await;
    assert_eq!(reload.code, 202);
}
