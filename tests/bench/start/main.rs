//! `berth dev`: how long it takes to be ready, and the memory of the whole
//! control plane, at rest and with many nodes. The floor is Postgres alone.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read. And
//! machines: the memory of those is their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

#[path = "../../../services/runtime/tests/support/eventually.rs"]
mod eventually;
#[path = "../memory.rs"]
mod memory;
mod plane;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/process/postgres.rs"]
mod postgres;
#[path = "../row.rs"]
mod row;

use crate::plane::Plane;
use crate::postgres::Postgres;
use crate::row::{Row, Step, load_average};
use berth_tests::{Berth, Shape, output, program};
use std::process::Command;
use std::thread;
use std::time::Instant;
use tokio::runtime::Runtime;

/// How often it is started again; the median counts.
const WARM: usize = 3;
/// Nodes that wait for a machine.
const NODES: usize = 1000;
/// Clients that launch them.
const CLIENTS: usize = 4;

fn main() {
    let [first_floor, again_floor] = Runtime::new().unwrap().block_on(floors());
    let load = load_average();
    let begun = Instant::now();
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    let cold = begun.elapsed().as_secs_f64();
    start(
        "berth dev, first start",
        cold,
        first_floor,
        load,
        Vec::new(),
    )
    .show();
    let load = load_average();
    let mut took: Vec<f64> = (0..WARM)
        .map(|_| {
            berth.stop();
            let begun = Instant::now();
            berth.resume();
            begun.elapsed().as_secs_f64()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let slowest = vec![step("slowest", took[WARM - 1], "s")];
    start(
        "berth dev, started again",
        took[WARM / 2],
        again_floor,
        load,
        slowest,
    )
    .show();

    let load = load_average();
    let rest = Plane::settled(berth.dir());
    let foundations = rest.of(&["Postgres", "OpenBao"]);
    memory(
        "control plane at rest",
        &rest,
        (foundations, "Postgres and OpenBao"),
        load,
    )
    .show();
    berth.register(Berth::COSMOS);
    let load = load_average();
    let begun = Instant::now();
    launch(&berth);
    let launched = begun.elapsed().as_secs_f64();
    let many = Plane::settled(berth.dir());
    let mut row = memory(
        "control plane, 1,000 nodes",
        &many,
        (rest.total(), "at rest"),
        load,
    );
    row.steps.push(step("launching them", launched, "s"));
    row.show();
    berth.stop();
}

/// Asks for nodes at a price that no machine has: they wait, and ask again and
/// again.
fn launch(berth: &Berth) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for number in (client..NODES).step_by(CLIENTS) {
                    let mut client = Command::new(program("berth"));
                    client.arg("--context").arg(berth.context());
                    client.args(["node", "launch", "--chain", Berth::CHAIN]);
                    client.args(["--role", "full", "--max-price", "0.000001"]);
                    client.args(["--name", &format!("bench-{number}")]);
                    for name in ["BERTH_ENDPOINT", "BERTH_TOKEN", "BERTH_CA_FILE"] {
                        client.env_remove(name);
                    }
                    output(&mut client);
                }
            });
        }
    });
}

/// Seconds until a Postgres of its own answers: a new one, with a database, and
/// one that is started again.
async fn floors() -> [f64; 2] {
    let begun = Instant::now();
    let mut postgres = Postgres::start().await;
    let first = begun.elapsed().as_secs_f64();
    postgres.stop();
    let begun = Instant::now();
    postgres.run(&[]).await;
    [first, begun.elapsed().as_secs_f64()]
}

fn start(name: &'static str, value: f64, floor: f64, load_average: f64, steps: Vec<Step>) -> Row {
    Row {
        name,
        value,
        unit: "s",
        floor,
        floor_name: "Postgres alone",
        ratio: value / floor,
        aim: None,
        load_average,
        steps,
    }
}

fn memory(
    name: &'static str,
    plane: &Plane,
    (floor, floor_name): (f64, &'static str),
    load_average: f64,
) -> Row {
    let value = plane.total();
    let steps = plane.0.iter().flat_map(|(name, memory)| {
        [
            step(&format!("{name}, PSS"), memory.proportional, "MBy"),
            step(&format!("{name}, RSS"), memory.resident, "MBy"),
        ]
    });
    Row {
        name,
        value,
        unit: "MBy",
        floor,
        floor_name,
        ratio: value / floor,
        aim: None,
        load_average,
        steps: steps.collect(),
    }
}

fn step(name: &str, value: f64, unit: &'static str) -> Step {
    Step {
        name: name.to_owned(),
        value,
        unit,
    }
}
