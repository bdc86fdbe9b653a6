//! Duties, from the first key to the signature, over every listener of the real
//! executable.

use crate::chain::chain;
use crate::eventually::eventually;
use crate::node::Node;
use crate::postgres::{ADMIN, DATABASE, SERVING};
use crate::requests::{KINDS, request};
use crate::signer::{Caller, Site};
use berth_signer::domain::{Chain, Preset};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;

const OK: &str = "HTTP/1.1 200 ";

/// An epoch of minutes: a slot stays present while a test runs.
fn slow() -> Chain {
    Chain {
        seconds_per_slot: 12,
        ..chain(Preset::Mainnet)
    }
}

impl Node {
    fn body(&self, kind: &str, slot: u64) -> Value {
        let mut body = request(&self.chain, kind, slot);
        if kind == "VALIDATOR_REGISTRATION" {
            body["validator_registration"]["pubkey"] = json!(self.keys[0]);
        }
        body
    }

    fn path(&self) -> String {
        format!("/api/v1/eth2/sign/{}", self.keys[0])
    }

    async fn sign(&self, machine: &Caller, body: &Value) -> Option<String> {
        machine.post(&self.path(), body).await
    }

    /// Waits until the replica that this machine asks answers so.
    async fn answered(&self, machine: &Caller, body: &Value, wanted: &str) -> String {
        eventually(wanted, async || {
            let answer = self.sign(machine, body).await?;
            answer.contains(wanted).then_some(answer)
        })
        .await
    }

    /// Waits until it signs.
    async fn signed(&self, machine: &Caller, body: &Value) -> String {
        self.answered(machine, body, OK).await
    }

    /// Waits until it refuses for this reason, since it may be asked too often
    /// just now. It never signs.
    async fn refused(&self, machine: &Caller, body: &Value, reason: &str) {
        eventually(reason, async || {
            let answer = self.sign(machine, body).await?;
            assert!(!answer.starts_with(OK), "{answer}");
            answer.contains(reason).then_some(())
        })
        .await;
    }
}

/// The signature in an answer.
fn signature(answer: &str) -> &str {
    answer.split("\r\n\r\n").nth(1).unwrap()
}

#[tokio::test]
async fn two_replicas_sign_each_duty_once_through_kills_and_a_new_fence() {
    let site = Site::start().await;
    let (mut first, _second) = tokio::join!(site.serve_replica(0), site.serve_replica(1));
    let mut node = Node::launch(&site, slow(), 1).await;
    let (here, there) = (site.placement(1, 0).await, site.placement(1, 1).await);
    let slot = node.slot();
    for kind in KINDS {
        let body = node.body(kind, slot);
        let one = node.signed(&here, &body).await;
        let other = node.signed(&there, &body).await;
        assert_eq!(signature(&one), signature(&other), "{kind}");
    }
    let mut other = node.body("ATTESTATION", slot);
    other["attestation"]["beacon_block_root"] = json!(format!("0x{}", "99".repeat(32)));
    for machine in [&here, &there] {
        node.refused(machine, &other, "DOUBLE_VOTE").await;
    }

    // Recorded once each, in the partition of this month.
    let recorded =
        "select tableoid = 'signature_rest'::regclass, count(*) from signature group by 1";
    assert_eq!(site.postgres.psql(ADMIN, recorded).trim(), "f|2");

    first.signal(Signal::SIGKILL);
    first.ended().await;
    let _first = site.serve_replica(0).await;
    // Its keys come from Vault, and what is signed from the row.
    let body = node.body("ATTESTATION", slot);
    let again = node.signed(&here, &body).await;
    assert_eq!(
        signature(&again),
        signature(&node.signed(&there, &body).await)
    );
    node.refused(&here, &other, "DOUBLE_VOTE").await;

    node.place(2).await;
    for machine in [&here, &there] {
        node.refused(machine, &body, "FENCED").await;
    }
    let next = site.placement(2, 1).await;
    let moved = node.signed(&next, &body).await;
    assert_eq!(signature(&moved), signature(&again));
}

#[tokio::test]
async fn nothing_is_signed_while_the_clocks_of_signer_and_database_differ() {
    let site = Site::start().await;
    let _running = site.serve().await;
    let node = Node::launch(&site, slow(), 1).await;
    let machine = site.placement(1, 0).await;
    let body = node.body("RANDAO_REVEAL", node.slot());
    node.signed(&machine, &body).await;

    // The server's clock, as the role that serves reads it from now on.
    let look_here_first = format!("alter role {SERVING} set search_path = public, pg_catalog");
    site.postgres.sql(DATABASE, &look_here_first).await;
    let again = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{SERVING}'"
    );
    for skew in ["4 hours", "-4 hours", "1 day", "700 ms"] {
        let clock = format!(
            "create function public.clock_timestamp() returns timestamptz language sql as
             $$ select pg_catalog.clock_timestamp() + interval '{skew}' $$; {again}"
        );
        site.postgres.sql(DATABASE, &clock).await;
        node.answered(&machine, &body, "CLOCK_SKEW").await;
        let right = format!("drop function public.clock_timestamp(); {again}");
        site.postgres.sql(DATABASE, &right).await;
        node.signed(&machine, &body).await;
    }
}

#[tokio::test]
async fn a_signer_whose_clock_jumps_signs_nothing_from_that_moment_on() {
    let site = Site::start().await;
    let clock = site.postgres.folder().join("clock");
    fs::write(&clock, "+0").unwrap();
    let _running = site.serve_off(&clock).await;
    let node = Node::launch(&site, slow(), 1).await;
    let machine = site.placement(1, 0).await;
    let body = node.body("RANDAO_REVEAL", node.slot());
    node.signed(&machine, &body).await;
    for skew in ["+4h", "-4h", "+1d"] {
        // Made before: with a wrong clock no certificate is good.
        let mut line = machine.connect().await.unwrap();
        fs::write(&clock, skew).unwrap();
        let refused = line.post(&node.path(), &body).await.unwrap();
        assert!(refused.contains("CLOCK_SKEW"), "{skew}: {refused}");
        fs::write(&clock, "+0").unwrap();
        node.signed(&machine, &body).await;
    }
}
