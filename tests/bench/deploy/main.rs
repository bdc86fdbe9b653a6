//! One container on one machine, and one on each of six at once: through a
//! session that is open, through a new process, and by what people use instead.
//! The floor is `docker run` on the machine itself. All of them make the same
//! container, which is compared on the machine each time.
//!
//! Needs root, and `BERTH_PEERS`: where Ansible and pyinfra are.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

mod cold;
mod field;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../provisioner/tests/machine/harness.rs"]
mod harness;
#[expect(dead_code, unused_imports, reason = "tests use the rest")]
#[path = "../../../provisioner/tests/machine/images.rs"]
mod images;
mod peers;
#[path = "../row.rs"]
mod row;

use crate::field::{Field, Parts};
use crate::row::{Row, Step, load_average};
use std::time::Instant;

/// Ways to deploy, in the order of their turns.
const WAYS: [Way; 7] = [
    Way::Local,
    Way::Resident,
    Way::Cold,
    Way::Ssh,
    Way::DockerHost,
    Way::Pyinfra,
    Way::Ansible,
];

/// Machines, rounds, and what the rows are called.
const SIZES: [(usize, usize, &str, &str); 2] = [
    (
        1,
        9,
        "deploy to 1 machine, resident",
        "deploy to 1 machine, cold",
    ),
    (
        6,
        5,
        "deploy to 6 machines, resident",
        "deploy to 6 machines, cold",
    ),
];

/// How a container gets onto machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `docker run` on the machine.
    Local,
    /// Berth with a session open.
    Resident,
    /// Berth from the start of a process.
    Cold,
    /// `ssh host docker run`.
    Ssh,
    /// `docker -H ssh://host run`.
    DockerHost,
    /// pyinfra, one operation.
    Pyinfra,
    /// Ansible, one task.
    Ansible,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Local => "local docker run",
            Self::Resident => "berth, session open",
            Self::Cold => "berth, new process",
            Self::Ssh => "ssh host docker run",
            Self::DockerHost => "docker -H ssh://",
            Self::Pyinfra => "pyinfra",
            Self::Ansible => "ansible",
        }
    }
}

fn main() {
    if cold::asked() {
        return cold::main();
    }
    Field::with(|field| {
        for (machines, rounds, resident, cold) in SIZES {
            measure(field, machines, rounds, [resident, cold]);
        }
    });
}

/// What one way took, of each round.
#[derive(Default)]
struct Took {
    seconds: Vec<f64>,
    parts: Vec<Parts>,
}

/// Seconds of every way in turn; prints the rows.
fn measure(field: &Field, machines: usize, rounds: usize, names: [&'static str; 2]) {
    let load_average = load_average();
    let mut all: [Took; WAYS.len()] = Default::default();
    // The first round warms up.
    for round in 0..=rounds {
        for (way, took) in WAYS.iter().zip(&mut all) {
            let begun = Instant::now();
            let parts = field.deploy(*way, machines);
            let seconds = begun.elapsed().as_secs_f64();
            field.check_and_remove(*way, machines);
            if round > 0 {
                took.seconds.push(seconds);
                took.parts.extend(parts);
            }
        }
    }
    let of = |way: Way| &all[WAYS.iter().position(|other| *other == way).unwrap()];
    let seconds = |way: Way| median(of(way).seconds.iter().copied());
    let floor = seconds(Way::Local);
    let peers = [Way::Ssh, Way::DockerHost, Way::Pyinfra, Way::Ansible];
    let peers = peers.map(|way| step(way.name(), seconds(way)));
    for (way, name, most) in [(Way::Resident, names[0], 1.1), (Way::Cold, names[1], 1.3)] {
        let value = seconds(way);
        let mut steps = parts(&of(way).parts);
        if way == Way::Resident {
            steps.extend(peers.iter().map(|peer| step(&peer.name, peer.value)));
        }
        Row {
            name,
            value,
            unit: "s",
            floor,
            floor_name: Way::Local.name(),
            ratio: value / floor,
            aim: Some(most * floor),
            load_average,
            steps,
        }
        .show();
    }
}

/// What Berth did with its time on a machine.
fn parts(parts: &[Parts]) -> Vec<Step> {
    let of = |part: usize| median(parts.iter().map(|parts| parts[part]));
    let names = ["signing in", "making the container", "starting it"];
    names
        .into_iter()
        .enumerate()
        .map(|(part, name)| step(&format!("of it on a machine: {name}"), of(part)))
        .collect()
}

fn step(name: &str, value: f64) -> Step {
    Step {
        name: name.to_owned(),
        value,
        unit: "s",
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
