//! A worker that is paused, and wakes up to a node that went on without it.

use crate::{LAUNCH, launch, runs_once, uuid};
use berth_tests::{Berth, Shape, eventually};
use std::time::Duration;

const REPLICAS: [&str; 2] = ["provisioning", "provisioning-2"];

#[test]
fn a_worker_paused_past_its_claim_cannot_write() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 2,
    });
    berth.register(Berth::COSMOS);
    let node = launch(&berth, "handed-over");
    let column = |column: &str| {
        let ask = format!(
            "select {column} from work where kind = 'node' and object_id = '{}'",
            uuid(&node)
        );
        berth.sql("berth_provisioning", &ask)
    };
    berth
        .watch("handed-over")
        .wait_for("keys on their way", LAUNCH, |event| event.step == "secrets");
    let worker = column("claimed_by");
    assert_ne!(worker, "", "somebody carries the keys");
    let paused = REPLICAS
        .into_iter()
        .find(|name| berth.log(name).contains(&worker));
    let paused = paused.expect("each worker says its name");
    berth.pause(paused, true);
    let claim = column("claim_fence");

    // Not through the client: its calls may go to the one that is paused.
    eventually("the other takes over and the node runs", LAUNCH, || {
        let state = format!("select state from node where id = '{}'", uuid(&node));
        let state = berth.sql("berth_provisioning", &state);
        if state == "running" {
            Ok(())
        } else {
            Err(state)
        }
    });
    assert_ne!(column("claim_fence"), claim);
    // Of the launch: what the other tells of the running node does not count.
    let told = || {
        let told = format!(
            "select count(*) from node_event where node_id = '{}' and step not in ('state', 'sync')",
            uuid(&node)
        );
        berth.sql("berth_provisioning", &told)
    };
    let before = told();
    berth.pause(paused, false);
    eventually("the paused worker notices", Duration::from_mins(1), || {
        let log = berth.log(paused);
        let lost = |line: &str| line.contains("lost the claim") && line.contains(uuid(&node));
        if log.lines().any(lost) {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(told(), before, "it wrote nothing");
    runs_once(&berth, "handed-over");
    berth.stop();
}
