//! What goes wrong while a node is launched, and does no harm.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

mod kill;
mod machines;
mod pause;
mod sealed;
mod steps;
mod twice;

use berth_rig::Machine;
use berth_tests::{Berth, Event, Sight};
use serde_json::Value;
use std::time::Duration;

/// How long a launch may take in spite of everything.
const LAUNCH: Duration = Duration::from_mins(4);

/// What a launch is doing.
type Moment = fn(&Event) -> bool;

/// Asks for a node, and waits for nothing.
fn launch(berth: &Berth, name: &str) -> Value {
    berth.run(&[
        "node",
        "launch",
        "--chain",
        Berth::CHAIN,
        "--role",
        "full",
        "--name",
        name,
        "--max-price",
        "1.00",
    ])["node"]
        .take()
}

/// The id of a node as databases hold it.
fn uuid(node: &Value) -> &str {
    node["id"].as_str().unwrap().trim_start_matches("node-")
}

/// One node, one lease, one placement, one set of containers; nothing anywhere
/// else. The machine that it runs on.
fn runs_once(berth: &Berth, name: &str) -> Machine {
    let node = berth.node_becomes(name, "STATE_RUNNING", LAUNCH);
    let machine_id = node["status"]["placement"]["machineId"].as_str().unwrap();
    assert_eq!(node["status"]["placement"]["fence"], "1", "{node}");
    let machine = berth.computer(machine_id);
    let sight = Sight::of(&machine);
    assert_eq!(sight.containers.len(), 2, "{sight:?}");
    let up = |container: &String| container.ends_with(" running");
    assert!(sight.containers.iter().all(up), "{sight:?}");

    let placements = format!(
        "select count(*), count(*) filter (where state = 'current') from placement \
         where node_id = '{}'",
        uuid(&node)
    );
    assert_eq!(berth.sql("berth_provisioning", &placements), "1|1");
    let leases = "select count(*) from lease where state <> 'closed'";
    assert_eq!(
        berth.sql("berth_leasing", leases),
        "1",
        "no lease is left over"
    );
    let held = "select count(*) from machine where state in ('reserved', 'leased')";
    assert_eq!(
        berth.sql("berth_inventory", held),
        "1",
        "no machine is held for nobody"
    );
    machine
}
