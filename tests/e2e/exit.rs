//! The end of a validator of a real network: its owner has the exit signed, its own
//! node hands it in, and the network's other node sees it leave.

use crate::story::text;
use berth_rig::devnet::Devnet;
use berth_tests::{Berth, eventually};
use serde_json::Value;
use std::time::Duration;

/// Blocks come every two seconds, and one of the next has it.
const SOON: Duration = Duration::from_mins(2);
/// The network takes an exit after some epochs of sixteen seconds.
const MATURE: Duration = Duration::from_mins(3);

/// Ends one of the validators of the account, which runs on.
pub(crate) fn of_one(berth: &Berth, network: &Devnet) {
    let listed = berth.run(&["validator", "list"]);
    let key = text(&listed, "/validators/0/publicKey");
    assert_eq!(seen(berth, network, &key), "active_ongoing");
    let exit = ["validator", "exit", &key];
    eventually("the network takes exits", MATURE, || {
        let told = berth.run(&[&exit[..], &["--dry-run"]].concat());
        assert_eq!(text(&told, "/validator/state"), "STATE_ACTIVE_ONGOING");
        let epoch = |field| text(&told, field).parse::<u64>().unwrap();
        let earliest = epoch("/validator/earliestExitEpoch");
        if epoch("/validator/currentEpoch") >= earliest {
            Ok(())
        } else {
            Err(told.to_string())
        }
    });
    let unconfirmed = berth.ask(&exit);
    assert_eq!(unconfirmed.code, Some(2), "{}", unconfirmed.said);
    berth.run(&[&exit[..], &["--confirm", &key]].concat());
    eventually("the validator leaves", SOON, || {
        match seen(berth, network, &key).as_str() {
            "active_exiting" | "exited_unslashed" => Ok(()),
            status => Err(status.to_owned()),
        }
    });
    let shown = berth.print(&["validator", "show", &key]);
    assert!(shown.contains("duties end at epoch"), "{shown}");
    let again = berth.ask(&[&exit[..], &["--confirm", &key]].concat());
    assert_eq!(again.code, Some(5), "{}", again.said);
}

/// Where the network's own node has a validator in its life.
fn seen(berth: &Berth, network: &Devnet, key: &str) -> String {
    let machine = berth.rig().machine("ethereum-devnet").unwrap();
    let url = format!(
        "{}/eth/v1/beacon/states/head/validators?id={key}",
        network.rpc
    );
    let output = machine.exec(&["curl", "--silent", "--max-time", "5", &url]);
    let answer: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap_or_default();
    let status = answer.pointer("/data/0/status").and_then(Value::as_str);
    status.map_or_else(|| answer.to_string(), str::to_owned)
}
