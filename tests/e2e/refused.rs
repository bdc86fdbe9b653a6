//! What a hostile machine asks for and does not get, and its way to the owner: from the
//! signer's refusal through its log record and monitoring to `berth incident list`.

use crate::story::text;
use berth_rig::Machine;
use berth_rig::devnet::Devnet;
use berth_tests::{Berth, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const TOLD: Duration = Duration::from_mins(2);

/// Whoever has the machine asks for an exit, through the agent and so with the
/// placement's certificate.
pub(crate) fn becomes_an_incident(berth: &Berth, network: &Devnet, machine: &Machine, node: &str) {
    let key = text(&berth.run(&["key", "list"]), "/validators/0/publicKey");
    let answer = ask(machine, &key, &exit(berth, network));
    let (body, code) = answer.rsplit_once('\n').expect("a body and a code");
    assert_eq!(code, "412", "{body}");
    assert!(body.contains("TYPE_NOT_PERMITTED"), "{body}");

    eventually("the refusal is an incident", TOLD, || {
        let listed = berth.ask(&["incident", "list", "--node", node]).json;
        let all = listed["incidents"].as_array();
        let found = all
            .into_iter()
            .flatten()
            .find(|one| one["reason"] == "TYPE_NOT_PERMITTED" && one["publicKey"] == key.as_str());
        match found {
            Some(one) if one["state"] == "STATE_OPEN" => Ok(()),
            _ => Err(listed.to_string()),
        }
    });
}

/// A complete request for an exit, as of the network that is.
fn exit(berth: &Berth, network: &Devnet) -> String {
    let machine = berth.rig().machine("ethereum-devnet").unwrap();
    let url = format!("{}/eth/v1/beacon/genesis", network.rpc);
    let genesis = machine
        .run(&["curl", "--silent", "--max-time", "5", &url])
        .unwrap();
    let genesis: Value = serde_json::from_str(&genesis).unwrap();
    let body = json!({
        "type": "VOLUNTARY_EXIT",
        "fork_info": {
            "fork": {
                "previous_version": "0x02000001",
                "current_version": "0x03000001",
                "epoch": "0",
            },
            "genesis_validators_root": text(&genesis, "/data/genesis_validators_root"),
        },
        "voluntary_exit": { "epoch": "1", "validator_index": "1" },
    });
    body.to_string()
}

/// The body of the signer's answer, and on a line of its own the code.
fn ask(machine: &Machine, key: &str, body: &str) -> String {
    let names = machine.run(&["docker", "ps", "--format", "{{.Names}}"]);
    let names = names.unwrap();
    let agent = names.lines().find(|name| name.ends_with("-agent"));
    let agent = agent.unwrap_or_else(|| panic!("no agent: {names}"));
    let of = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = machine.run(&["docker", "inspect", "--format", of, agent]);
    let url = format!(
        "http://{}:9000/api/v1/eth2/sign/{key}",
        address.unwrap().trim()
    );
    let words = [
        "curl",
        "--silent",
        "--max-time",
        "20",
        "--header",
        "content-type: application/json",
        "--header",
        "accept: application/json",
        "--write-out",
        "\\n%{http_code}",
        "--data",
        body,
        &url,
    ];
    machine.run(&words).unwrap()
}
