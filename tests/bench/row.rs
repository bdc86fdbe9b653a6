//! One row of the results.

use berth_tests::repository;
use serde::Serialize;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;

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
    /// How busy this computer was when the measurement began: running
    /// processes, over one minute.
    pub(crate) load_average: f64,
    /// What the value is made of, in order.
    pub(crate) steps: Vec<Step>,
}

/// A part of a value.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// Which.
    pub(crate) name: String,
    /// How much, in the unit of the row.
    pub(crate) value: f64,
}

impl Row {
    /// Appends the row to the results.
    pub(crate) fn keep(&self) {
        let path = repository().join("target/bench.jsonl");
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
        let unit = self.unit;
        let mut line = |name: &str, value: f64| writeln!(f, "{name:<36} {value:>9.3} {unit}");
        line(self.name, self.value)?;
        for step in &self.steps {
            line(&format!("  {}", step.name), step.value)?;
        }
        line(&format!("floor: {}", self.floor_name), self.floor)?;
        writeln!(f, "{:<36} {:>9.1}", "ratio", self.ratio)?;
        writeln!(f, "{:<36} {:>9.2}", "load average", self.load_average)
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
