//! A placement signs under the current fence, once that is granted.

use crate::requests::request;
use crate::site::{SLOT, Site, sign};
use berth_core::Fence;
use sqlx::PgPool;

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_old_and_a_future_fence_are_refused_on_connections_that_live_on(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let (first, second) = (Fence::FIRST, Fence::FIRST.next());
    let old = site.placement(node, first).await;
    let new = site.placement(node, second).await;
    let body = |slot| request(&site.chain, "ATTESTATION", slot);
    let other = request(&site.chain, "RANDAO_REVEAL", SLOT);
    sign(&old, 1, &body(SLOT - 8)).await.signature();
    sign(&new, 1, &body(SLOT)).await.refused(412, "NOT_GRANTED");

    site.advance(node, second).await;
    for line in [&old, &new] {
        let reason = if std::ptr::eq(line, &old) {
            "FENCED"
        } else {
            "NOT_GRANTED"
        };
        sign(line, 1, &body(SLOT)).await.refused(412, reason);
        // What no slashing rule is about, and what was signed before, as well.
        sign(line, 1, &other).await.refused(412, reason);
        sign(line, 1, &body(SLOT - 8)).await.refused(412, reason);
    }

    site.grant(node, second).await;
    sign(&new, 1, &body(SLOT)).await.signature();
    for body in [body(SLOT), body(SLOT - 8), other] {
        let answer = sign(&old, 1, &body).await;
        answer.refused(412, "FENCED");
        let message = answer.json()["error"]["message"].to_string();
        assert!(
            message.contains("fence 1; the signer knows fence 2"),
            "{message}"
        );
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_validator_that_went_to_another_node_is_signed_for_there_alone(db: PgPool) {
    let site = Site::start(db).await;
    let (from, to) = (site.node([1]).await, site.node([]).await);
    let (old, new) = (
        site.placement(from, Fence::FIRST).await,
        site.placement(to, Fence::FIRST).await,
    );
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&new, 1, &body).await.refused(404, "UNKNOWN_KEY");
    sqlx::query("update validator set node_id = $1")
        .bind(to.id)
        .execute(&site.db)
        .await
        .unwrap();
    // The row says so at once, whatever the roster still believes.
    sign(&old, 1, &body).await.refused(404, "UNKNOWN_KEY");
    crate::eventually::eventually("the roster follows", async || {
        (!site.roster.of_node(to.id).is_empty()).then_some(())
    })
    .await;
    sign(&new, 1, &body).await.signature();
}
