//! A node's life, as its owner and the owner of the machine see it.

use crate::{ledger, sentinel};
use berth_tests::{Berth, Event, Sight, eventually};
use serde_json::Value;
use std::time::Duration;

const NODE: &str = "n1";
/// How long a launch may take, with the image on its way.
pub(crate) const LAUNCH: Duration = Duration::from_mins(3);
/// How long a smaller change may take.
pub(crate) const CHANGE: Duration = Duration::from_mins(1);

/// The whole story.
pub(crate) fn told(berth: &mut Berth) {
    machines_are_on_offer(berth);
    berth.register(Berth::COSMOS);

    let launched = launch(berth);
    let watch = berth.watch(NODE);
    let machine_id = text(&launched, "/status/placement/machineId");
    let lease_id = text(&launched, "/status/leaseId");
    follows_the_chain(berth);
    stands_on(berth, &machine_id);
    drains_and_is_let_in_again(berth, &machine_id);
    let key = berth.secret(&text(&launched, "/id"), "node-key");
    let key: Value = serde_json::from_str(&key).expect("a node key is JSON");
    sentinel::no_secret_is_anywhere(berth, &launched, &text(&key, "/priv_key/value"));

    let first = fence(&launched);
    let height = height(berth, NODE);
    stop_keeps_the_data(berth, &machine_id);
    let started = berth.run(&["node", "start", NODE, "--wait"]);
    assert!(
        fence(&started["node"]) > first,
        "a start takes the next fence"
    );
    assert_eq!(
        text(&started["node"], "/status/placement/machineId"),
        machine_id
    );
    berth.node_is_healthy(NODE, LAUNCH);
    assert!(
        self::height(berth, NODE) >= height,
        "it kept what it had synced"
    );
    steps_are_told(&watch.events());
    drop(watch);

    a_restart_of_everything_keeps_the_node(berth);
    let watch = berth.watch(NODE);
    retire(berth, NODE, &launched, &machine_id);
    let events = watch.finish();
    assert_eq!(events.last().unwrap().state, "STATE_RETIRED");
    ledger::balances(berth, &lease_id);
}

/// What stands at a JSON pointer.
#[track_caller]
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}

/// Canonical JSON writes numbers of 64 bits as text.
#[track_caller]
pub(crate) fn fence(node: &Value) -> u64 {
    text(node, "/status/placement/fence")
        .parse()
        .expect("a fence is a number")
}

/// The height that a node has.
#[track_caller]
pub(crate) fn height(berth: &Berth, node: &str) -> u64 {
    let health = berth.run(&["health", node]);
    text(&health, "/health/height")
        .parse()
        .expect("a height is a number")
}

fn machines_are_on_offer(berth: &Berth) {
    let machines = berth.run(&["machine", "list"]);
    let machines = machines["machines"].as_array().expect("machines");
    assert_eq!(machines.len(), 2);
    for machine in machines {
        assert_eq!(text(machine, "/status/state"), "STATE_AVAILABLE");
        let facts = &machine["status"]["facts"];
        assert!(facts["cpuCores"].as_u64() > Some(0), "{facts}");
        assert!(facts["disks"][0]["readIops"].as_u64() > Some(0), "{facts}");
        assert_ne!(text(facts, "/dockerVersion"), "");
    }
    let offers = berth.run(&["offer", "list"]);
    assert_eq!(offers["offers"].as_array().map(Vec::len), Some(2));
}

/// One command from a wish to a node that runs.
fn launch(berth: &Berth) -> Value {
    let wish = [
        "node",
        "launch",
        "--chain",
        Berth::CHAIN,
        "--role",
        "full",
        "--name",
        NODE,
        "--max-price",
        "1.00",
    ];
    let dry = berth.run(&[&wish[..], &["--dry-run"]].concat());
    assert_eq!(text(&dry, "/node/name"), NODE);
    assert_eq!(
        berth.ask(&["node", "show", NODE]).code,
        Some(3),
        "a dry run stores nothing"
    );

    let node = berth.run(&[&wish[..], &["--wait"]].concat())["node"].take();
    assert_eq!(text(&node, "/name"), NODE);
    assert_eq!(text(&node, "/status/state"), "STATE_RUNNING");
    assert_eq!(text(&node, "/status/placement/state"), "STATE_CURRENT");
    assert_eq!(fence(&node), 1);
    assert_eq!(berth.ask(&wish).code, Some(5), "its name is taken");
    node
}

/// Its own signals say that it follows, and the chain grows.
fn follows_the_chain(berth: &Berth) {
    let healthy = berth.node_is_healthy(NODE, LAUNCH);
    assert_ne!(text(&healthy, "/peers"), "0", "{healthy}");
    let before = height(berth, NODE);
    eventually("the node's height grows", CHANGE, || {
        let now = height(berth, NODE);
        if now > before {
            Ok(())
        } else {
            Err(format!("it is {now}"))
        }
    });
    eventually("the node shows its health", CHANGE, || {
        let status = berth.node(NODE)["status"].take();
        if status["health"] == "HEALTH_HEALTHY" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    let logs = berth.print(&["node", "logs", NODE, "--tail", "5"]);
    assert_eq!(logs.lines().count(), 5, "{logs}");
    let agent = berth.print(&["node", "logs", NODE, "--component", "agent", "--tail", "5"]);
    assert_ne!(agent, "", "the agent says something");
}

/// All of the node stands on its machine, once, and nothing on the other.
fn stands_on(berth: &Berth, machine_id: &str) {
    let sight = Sight::of(&berth.computer(machine_id));
    assert_eq!(sight.containers.len(), 2, "{sight:?}");
    assert!(
        sight.containers.iter().all(|c| c.ends_with(" running")),
        "{sight:?}"
    );
    assert_eq!(
        (sight.images.len(), sight.networks.len()),
        (2, 1),
        "{sight:?}"
    );
    assert!(sight.firewall, "{sight:?}");
    assert!(!sight.volumes.is_empty(), "{sight:?}");
    for other in berth.run(&["machine", "list"])["machines"]
        .as_array()
        .expect("machines")
    {
        let id = text(other, "/id");
        if id != machine_id {
            assert_eq!(Sight::of(&berth.computer(&id)).containers, [""; 0]);
        }
    }
}

/// Who drains a machine sees what stands there, which runs on.
fn drains_and_is_let_in_again(berth: &Berth, machine_id: &str) {
    let cordoned = || berth.machine(machine_id)["status"]["cordoned"] == true;
    let drain = |words: &[&str], advice: &str, after: bool| {
        let drained = berth.ask(&[&["machine", "drain", machine_id], words].concat());
        assert_eq!(drained.code, Some(0), "{}", drained.said);
        assert!(drained.said.contains(advice), "{}", drained.said);
        let nodes = drained.json["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        assert_eq!(text(&nodes[0], "/name"), NODE);
        assert_eq!(text(&nodes[0], "/role"), "ROLE_FULL");
        assert_ne!(text(&nodes[0], "/leaseExpireTime"), "");
        assert_eq!(cordoned(), after, "{advice}");
    };
    drain(&["--dry-run"], "Would cordon", false);
    drain(&[], "is cordoned", true);
    let free = berth.run(&["machine", "uncordon", machine_id]);
    assert_eq!(text(&free, "/machine/status/state"), "STATE_LEASED");
    assert!(!cordoned(), "it takes nodes again");
    let held = berth.run(&["machine", "cordon", machine_id]);
    assert_eq!(held["machine"]["status"]["cordoned"], true);
    berth.run(&["machine", "uncordon", machine_id]);
    berth.node_becomes(NODE, "STATE_RUNNING", CHANGE);
}

fn stop_keeps_the_data(berth: &Berth, machine_id: &str) {
    let before = Sight::of(&berth.computer(machine_id));
    let stopped = berth.ask(&["node", "stop", NODE, "--wait"]);
    assert_eq!(text(&stopped.json, "/node/status/state"), "STATE_STOPPED");
    for (step, told) in [("STOPPING", true), ("STOPPED", true), ("accepted", false)] {
        assert_eq!(stopped.said.contains(step), told, "{}", stopped.said);
    }
    let after = Sight::of(&berth.computer(machine_id));
    assert!(
        after.containers.iter().all(|c| c.ends_with(" exited")),
        "{after:?}"
    );
    assert_eq!(after.volumes, before.volumes);
    assert_eq!(
        berth.ask(&["node", "stop", NODE]).code,
        Some(0),
        "it is stopped already"
    );
}

/// Every step was told, in order and without a gap, with a percentage where
/// the work has one.
fn steps_are_told(events: &[Event]) {
    let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    let all: Vec<i64> = (1..).take(events.len()).collect();
    assert_eq!(numbers, all, "no event is lost and none comes twice");
    for step in [
        "lease",
        "gates",
        "place",
        "connect",
        "image",
        "secrets",
        "containers",
        "agent",
    ] {
        assert!(
            events.iter().any(|event| event.step == step),
            "no step {step} in {events:#?}"
        );
    }
    for percent in [0, 100] {
        let told = |event: &Event| event.step == "image" && event.percent == percent;
        assert!(
            events.iter().any(told),
            "no image at {percent} % in {events:#?}"
        );
    }
    let states: Vec<&str> = events.iter().map(|event| event.state.as_str()).collect();
    for state in [
        "STATE_PLACING",
        "STATE_LAUNCHING",
        "STATE_RUNNING",
        "STATE_STOPPED",
    ] {
        assert!(states.contains(&state), "never {state}: {states:?}");
    }
}

/// Machines, databases and services are turned off and on again: the same node
/// runs in the same place, with new secrets in its memory.
fn a_restart_of_everything_keeps_the_node(berth: &mut Berth) {
    let before = berth.node(NODE);
    berth.stop();
    berth.resume();
    berth.network(Berth::COSMOS);
    let after = berth.node_is_healthy(NODE, LAUNCH);
    assert_eq!(after["fence"], before["status"]["placement"]["fence"]);
    let after = berth.node_becomes(NODE, "STATE_RUNNING", CHANGE);
    assert_eq!(after["id"], before["id"]);
    assert_eq!(after["status"]["placement"], before["status"]["placement"]);
}

/// Nothing is left of the node, on its machine or elsewhere.
pub(crate) fn retire(berth: &Berth, name: &str, node: &Value, machine_id: &str) {
    let computer = berth.computer(machine_id);
    let retired = berth.run(&["node", "retire", name, "--wait"]);
    assert_eq!(text(&retired, "/node/status/state"), "STATE_RETIRED");
    eventually("the machine is wiped and free", LAUNCH, || {
        let machine = berth.machine(machine_id);
        if machine["status"]["state"] == "STATE_AVAILABLE" {
            Ok(())
        } else {
            Err(machine["status"].to_string())
        }
    });
    assert_eq!(
        Sight::of(&computer),
        Sight::default(),
        "the machine is clean"
    );
    assert!(
        !berth.has_secrets(&text(node, "/id")),
        "its keys are gone from Vault"
    );
    let nodes = berth.run(&["node", "list"]);
    assert_eq!(nodes["nodes"], Value::Null, "nothing is listed any more");
}
