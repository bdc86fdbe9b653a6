//! One row of the results: a value beside its floor or its peer, measured in the
//! same run on the same machine. Shared by the benchmarks of several crates.

use serde::Serialize;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// What was measured, beside the best that is possible here.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: &'static str,
    /// How much, in `unit`.
    pub(crate) value: f64,
    /// Unit after UCUM.
    pub(crate) unit: &'static str,
    /// The floor: what nobody gets below, in `unit`.
    pub(crate) floor: f64,
    /// What the floor is.
    pub(crate) floor_name: &'static str,
    /// Value by floor.
    pub(crate) ratio: f64,
    /// What the value should reach, in `unit`, where that is said.
    pub(crate) aim: Option<f64>,
    /// How busy this computer was when the measurement began: running
    /// processes, over one minute.
    pub(crate) load_average: f64,
    /// What the value is made of or goes with, in order.
    pub(crate) steps: Vec<Step>,
}

/// A part of a value.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// Which.
    pub(crate) name: String,
    /// How much, in `unit`.
    pub(crate) value: f64,
    /// Unit after UCUM.
    pub(crate) unit: &'static str,
}

impl Row {
    /// Prints the row, and appends it to `target/bench.jsonl`.
    pub(crate) fn show(&self) {
        println!("{self}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench.jsonl");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        writeln!(file, "{}", serde_json::to_string(self).unwrap()).unwrap();
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line =
            |name: &str, value: f64, unit: &str| writeln!(f, "{name:<44} {value:>9.3} {unit}");
        line(self.name, self.value, self.unit)?;
        for step in &self.steps {
            line(&format!("  {}", step.name), step.value, step.unit)?;
        }
        line(
            &format!("floor: {}", self.floor_name),
            self.floor,
            self.unit,
        )?;
        if let Some(aim) = self.aim {
            line("aim", aim, self.unit)?;
        }
        line("ratio", self.ratio, "")?;
        line("load average", self.load_average, "")
    }
}

/// How busy this computer is.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    let first = text.split_whitespace().next();
    first
        .and_then(|value| value.parse().ok())
        .expect("a load average")
}
