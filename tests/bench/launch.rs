//! A launch, from the request to a node that runs, on a machine that has never
//! seen the image. The floor is Docker alone, making and starting the same
//! container on the same machine.
//!
//! Its parts are the call, until the node is accepted, the steps of the
//! reconciler in their order, and the way back to the client. What Postgres
//! took of them is told by its own log, beside them.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

mod database;
mod row;

use crate::row::{Row, Step, load_average};
use berth_rig::Machine;
use berth_tests::{Berth, Event, Shape};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::{Duration, Instant};

const NODE: &str = "bench";
const RUNNING: &str = "STATE_RUNNING";
/// How often the floor is measured; its median counts.
const FLOORS: usize = 5;

fn main() {
    row().show();
}

/// Measures it.
fn row() -> Row {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    let log = database::Log::begin(&berth);
    let load_average = load_average();
    let (begun, asked) = (Instant::now(), berth_core::now());
    let node = berth.run(&[
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
        "--wait",
    ])["node"]
        .take();
    let value = begun.elapsed().as_secs_f64();
    let watch = berth.watch(NODE);
    watch.wait_for("the node runs", Duration::from_mins(1), |event| {
        event.state == RUNNING
    });
    let events = watch.events();
    drop(watch);
    let mut steps = steps(asked, value, &events);
    steps.extend(log.end(&berth, asked, time(running(&events))));
    berth.run(&["node", "stop", NODE, "--wait"]);
    let machine_id = node["status"]["placement"]["machineId"].as_str().unwrap();
    let floor = floor(&berth.computer(machine_id));
    berth.run(&["node", "retire", NODE, "--wait"]);
    berth.stop();
    Row {
        name: "launch, request to RUNNING",
        value,
        unit: "s",
        floor,
        floor_name: "docker create and start",
        ratio: value / floor,
        aim: None,
        load_average,
        steps,
    }
}

/// The call; how long each step took, from its first event to that of the next
/// step; and until the client, which took `value` seconds, had heard of it.
fn steps(asked: DateTime<Utc>, value: f64, events: &[Event]) -> Vec<Step> {
    let seconds = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64();
    let step = |name: &str, value| Step {
        name: name.to_owned(),
        value,
        unit: "s",
    };
    let end = running(events);
    let mut steps = vec![step("rpc, and the client's start", {
        seconds(asked, time(&events[0]))
    })];
    for pair in events
        .windows(2)
        .take_while(|pair| pair[0].sequence < end.sequence)
    {
        let took = seconds(time(&pair[0]), time(&pair[1]));
        match steps.last_mut() {
            Some(last) if last.name == pair[0].step => last.value += took,
            _ => steps.push(step(&pair[0].step, took)),
        }
    }
    let heard = value - seconds(asked, time(end));
    steps.push(step("until the client has heard of it", heard));
    steps
}

/// The first event that says that it runs.
fn running(events: &[Event]) -> &Event {
    let mut running = events.iter().filter(|event| event.state == RUNNING);
    running.next().expect("it runs")
}

fn time(event: &Event) -> DateTime<Utc> {
    event.create_time.parse().expect("a time")
}

/// Seconds that Docker alone takes for the container of the node, which is
/// stopped.
fn floor(machine: &Machine) -> f64 {
    let names = machine
        .run(&["docker", "ps", "--all", "--format", "{{.Names}}"])
        .unwrap();
    let original = names
        .lines()
        .find(|name| name.ends_with("-node"))
        .expect("a node");
    let inspected = machine.run(&["docker", "inspect", original]).unwrap();
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cpus = host["NanoCpus"].as_f64().unwrap_or_default() / 1e9;
    let mut create: Vec<String> = [
        "docker",
        "create",
        "--name",
        "floor",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--volumes-from",
        original,
    ]
    .map(str::to_owned)
    .into();
    create.extend([
        format!("--user={}", text(&config["User"])),
        format!("--network={}", text(&host["NetworkMode"])),
        format!("--memory={}", host["Memory"]),
        format!("--pids-limit={}", host["PidsLimit"]),
        format!("--cpus={cpus}"),
        text(&inspected[0]["Image"]),
    ]);
    create.extend(
        config["Cmd"]
            .as_array()
            .expect("a command")
            .iter()
            .map(text),
    );
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    let mut took: Vec<f64> = (0..FLOORS)
        .map(|_| {
            let begun = Instant::now();
            machine.run(&create).unwrap();
            machine.run(&["docker", "start", "floor"]).unwrap();
            let took = begun.elapsed().as_secs_f64();
            machine.run(&["docker", "rm", "--force", "floor"]).unwrap();
            took
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[FLOORS / 2]
}
