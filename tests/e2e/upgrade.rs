//! A node of a real chain comes to a new version on its data, and back by itself
//! from one that does not start.

use crate::story::{CHANGE, LAUNCH, fence, height, text};
use berth_rig::devnet::Devnet;
use berth_tests::{Berth, Event, Sight, eventually};
use std::fs;

const NODE: &str = "upgraded";
const FIRST: &str = "1.20.1-1";
const SECOND: &str = "1.20.1-2";
const THIRD: &str = "1.20.1-3";

/// There and back.
pub(crate) fn there_and_back(berth: &Berth) {
    let network = berth.register(Berth::COSMOS);
    let wish = "node launch --chain cosmos-devnet --role full --max-price 1.00 --wait --name";
    let wish: Vec<&str> = wish.split(' ').chain([NODE]).collect();
    let launched = berth.run(&wish)["node"].take();
    assert_eq!(text(&launched, "/status/version"), FIRST);
    let machine = berth.computer(&text(&launched, "/status/placement/machineId"));
    berth.node_is_healthy(NODE, LAUNCH);
    let before = (height(berth, NODE), Sight::of(&machine));
    let watch = berth.watch(NODE);

    register(berth, &network, SECOND, |entry| {
        entry
            .replace("default = \"info\"", "default = \"error\"")
            .replace("stop_timeout_s = 30", "stop_timeout_s = 10")
    });
    rehearses(berth);
    let words = ["node", "upgrade", NODE, "--to", SECOND, "--wait"];
    let node = berth.run(&words)["node"].take();
    assert_eq!(text(&node, "/status/version"), SECOND);
    assert_eq!(text(&node, "/status/upgrade/state"), "STATE_DONE");
    assert_eq!(fence(&node), 2);
    follows(berth, before.0);
    let after = Sight::of(&machine);
    assert_eq!(after.containers, before.1.containers);
    assert_eq!(after.volumes, before.1.volumes);
    berth.note("the new version follows");

    register(berth, &network, THIRD, |entry| {
        entry
            .replace(
                "command = [\"start\"",
                "command = [\"start\", \"--no-such-flag\"",
            )
            .replace("gate_s = 180", "gate_s = 10")
    });
    let reached = height(berth, NODE);
    let ended = berth.ask(&["node", "upgrade", NODE, "--wait"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(
        ended.said.contains("was not healthy in time"),
        "{}",
        ended.said
    );
    let node = berth.node(NODE);
    assert_eq!(text(&node, "/status/version"), SECOND);
    assert_eq!(text(&node, "/status/upgrade/state"), "STATE_ROLLED_BACK");
    assert_eq!(fence(&node), 4);
    follows(berth, reached);
    assert_eq!(Sight::of(&machine).containers, before.1.containers);
    is_told(&watch.events());
}

/// Registers another version of the chain.
fn register(berth: &Berth, network: &Devnet, version: &str, change: impl Fn(&str) -> String) {
    let entry = fs::read_to_string(&network.entry).unwrap();
    let rollback = format!("[upgrade]\nrollback_to = [\"{FIRST}\", \"{SECOND}\"]");
    let rollback = rollback.replace(&format!(", \"{version}\""), "");
    let new = change(&entry)
        .replace(
            &format!("version = \"{FIRST}\""),
            &format!("version = \"{version}\""),
        )
        .replace("[upgrade]", &rollback)
        .replace("steady_s = 15", "steady_s = 5");
    let changed = new.lines().filter(|line| !entry.contains(line)).count();
    assert!(changed >= 4, "{new}");
    let file = berth.dir().join(format!("{version}.toml"));
    fs::write(&file, new).unwrap();
    berth.run(&[
        "chain",
        "register",
        &file.display().to_string(),
        "--genesis",
        &network.genesis_path.display().to_string(),
        "--peers",
        &network.peers.join(","),
        "--images",
        &berth_tests::repository()
            .join("target/images")
            .display()
            .to_string(),
    ]);
}

/// A dry run says what would change, and changes nothing.
fn rehearses(berth: &Berth) {
    let before = berth.node(NODE);
    let words = ["node", "upgrade", NODE, "--dry-run"];
    let plan = berth.run(&words)["plan"].take();
    assert_eq!(text(&plan, "/fromVersion"), FIRST);
    assert_eq!(text(&plan, "/toVersion"), SECOND);
    assert_eq!(plan["canRollBack"], true);
    let printed = berth.print(&words);
    assert!(
        printed.contains(&format!("{FIRST} -> {SECOND}")),
        "{printed}"
    );
    assert_eq!(berth.node(NODE)["etag"], before["etag"]);
}

/// It follows the head of the chain, above a height that it had.
fn follows(berth: &Berth, above: u64) {
    berth.node_is_healthy(NODE, LAUNCH);
    eventually("its height grows on the same data", CHANGE, || {
        let now = height(berth, NODE);
        if now > above {
            Ok(())
        } else {
            Err(format!("it is {now}, and was {above}"))
        }
    });
}

fn is_told(events: &[Event]) {
    let mut order = events.iter();
    for (step, message) in [
        ("upgrade", "to version 1.20.1-2: its images come first"),
        ("image", "berth/cosmos-devnet:1.20.1 is there"),
        (
            "upgrade",
            "version 1.20.1-2 takes the place of 1.20.1-1 under fence 2",
        ),
        ("gate", "healthy, and has to stay so for 5 s"),
        ("upgrade", "version 1.20.1-2 runs and is healthy"),
        (
            "upgrade",
            "version 1.20.1-3 takes the place of 1.20.1-2 under fence 3",
        ),
        ("rollback", "going back to version 1.20.1-2"),
        ("rollback", "version 1.20.1-2 runs again and is healthy"),
    ] {
        let like = |event: &Event| event.step == step && event.message.starts_with(message);
        assert!(order.any(like), "{step} {message} in {events:#?}");
    }
}
