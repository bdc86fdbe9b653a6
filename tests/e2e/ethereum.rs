//! A node of several containers, as its owner and the owner of the machine see
//! it: one node, each of its parts visible.

use crate::sentinel;
use crate::story::{CHANGE, LAUNCH, fence, height, retire, text};
use berth_rig::devnet::Network;
use berth_tests::{Berth, Sight, eventually};
use serde_json::Value;

const NODE: &str = "ethereum-1";
/// Its containers, in the order of their names.
const PARTS: [&str; 3] = ["agent", "beacon", "execution"];

/// From a wish to a clean machine.
pub(crate) fn told(berth: &Berth) {
    berth.register(Network::Ethereum { leased: 0 });
    let launch = "node launch --chain ethereum-devnet --role full --max-price 1.00 --wait --name";
    let launch: Vec<&str> = launch.split(' ').chain([NODE]).collect();
    let launched = berth.run(&launch)["node"].take();
    let machine_id = text(&launched, "/status/placement/machineId");
    let healthy = berth.node_is_healthy(NODE, LAUNCH);
    assert_eq!(text(&healthy, "/peers"), "1", "the network's own node");
    every_part_is_seen(berth);
    let secret = berth.secret(&text(&launched, "/id"), "engine-jwt");
    assert_eq!(secret.len(), 64, "32 bytes in hex");
    sentinel::no_secret_is_anywhere(berth, &launched, &secret);

    let before = height(berth, NODE);
    berth.run(&["node", "stop", NODE, "--wait"]);
    let stopped = Sight::of(&berth.computer(&machine_id)).containers;
    assert_eq!(stopped.len(), PARTS.len());
    assert!(
        stopped.iter().all(|c| c.ends_with(" exited")),
        "{stopped:?}"
    );
    let started = berth.run(&["node", "start", NODE, "--wait"])["node"].take();
    assert!(fence(&started) > fence(&launched));
    berth.node_is_healthy(NODE, LAUNCH);
    assert!(height(berth, NODE) > before, "it follows again");
    retire(berth, NODE, &launched, &machine_id);
}

/// Each container is a component of the node with a state and a log.
fn every_part_is_seen(berth: &Berth) {
    let running = |node: &Value| -> Vec<String> {
        let parts = node["status"]["components"].as_array();
        let mut names: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|part| part["state"] == "running")
            .map(|part| text(part, "/name"))
            .collect();
        names.sort();
        names
    };
    eventually("every part runs", CHANGE, || {
        let node = berth.node(NODE);
        if running(&node) == PARTS {
            Ok(())
        } else {
            Err(node["status"].to_string())
        }
    });
    for part in PARTS {
        let logs = berth.print(&["node", "logs", NODE, "--component", part, "--tail", "3"]);
        assert_ne!(logs, "", "{part} says something");
    }
}
