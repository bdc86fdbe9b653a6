//! Services that are paused, as a busy or swapping host does it: they neither
//! answer nor break the connection. And a worker that wakes up to a node that
//! went on without it.

use crate::{LAUNCH, Moment, launch, runs_once, uuid};
use berth_tests::{Berth, Shape, eventually};
use std::time::Duration;

/// Each role, when it is paused in a launch, and what the node says of it then.
const PAUSES: [(&str, Moment, &str); 3] = [
    (
        "leasing",
        |event| event.step == "lease",
        "leasing does not answer",
    ),
    (
        "inventory",
        |event| event.step == "gates",
        "inventory does not answer",
    ),
    (
        "monitoring",
        |event| event.step == "containers",
        "monitoring does not answer",
    ),
];
/// What the client exits with when it is worth another try.
const AGAIN: Option<i32> = Some(7);

#[test]
fn a_service_paused_at_any_time_during_a_launch_delays_it_and_is_named() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    berth.pause("signer", true);
    launch(&berth, "delayed");
    let watch = berth.watch("delayed");
    for (role, when, says) in PAUSES {
        watch.wait_for(&format!("the moment to pause {role}"), LAUNCH, when);
        berth.pause(role, true);
        eventually(&format!("the node says {says}"), LAUNCH, || {
            let status = berth.node("delayed")["status"].take();
            let reason = status["statusReason"].as_str().unwrap_or_default();
            if reason.contains(says) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
        berth.pause(role, false);
    }
    // Nothing of this launch asks the signer; whoever does is told.
    let answer = berth.ask(&["key", "list"]);
    assert_eq!(answer.code, AGAIN, "{}", answer.said);
    berth.pause("signer", false);
    eventually("the signer answers again", LAUNCH, || {
        let answer = berth.ask(&["key", "list"]);
        answer.code.filter(|code| *code == 0).ok_or(answer.said)
    });

    berth.pause("gateway", true);
    let state = "select state from node where name = 'delayed'";
    eventually("the launch ends without the gateway", LAUNCH, || {
        let state = berth.sql("berth_provisioning", state);
        if state == "running" {
            Ok(())
        } else {
            Err(state)
        }
    });
    berth.pause("gateway", false);
    runs_once(&berth, "delayed");
    berth.run(&["node", "retire", "delayed", "--wait"]);
    let told: Vec<i64> = watch.finish().iter().map(|event| event.sequence).collect();
    let all: Vec<i64> = (1..).take(told.len()).collect();
    assert_eq!(told, all, "a watch lives on and misses nothing");
    berth.stop();
}

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
