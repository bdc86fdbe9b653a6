//! Who took the processors' time. Shared by the benchmarks of several crates.

use crate::row::Step;
use std::fs;
use std::path::Path;

/// What `/proc` counts in: `USER_HZ`, the same on every Linux.
const TICKS: f64 = 100.0;

/// The processes that share this computer in a measurement.
pub(crate) struct Processes {
    name: &'static str,
    pub(crate) measured: u32,
    postgres: u32,
}

/// Seconds of processors that each of them took.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    name: &'static str,
    asking: f64,
    pub(crate) measured: f64,
    pub(crate) postgres: f64,
}

/// Of a process, in ticks.
struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

impl Processes {
    /// What is measured, and the Postgres whose data stand there.
    pub(crate) fn new((name, measured): (&'static str, u32), data: &Path) -> Self {
        let file = fs::read_to_string(data.join("postmaster.pid")).unwrap();
        let postgres = file.lines().next().unwrap_or_default().parse().unwrap();
        Self {
            name,
            measured,
            postgres,
        }
    }

    /// What they took until now.
    pub(crate) fn used(&self) -> Used {
        let of = |process: &str| stat(process).expect("it runs");
        let server = of(&self.postgres.to_string());
        let sessions: f64 = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| stat(entry.ok()?.file_name().to_str()?))
            .filter(|stat| stat.parent == self.postgres)
            .map(|stat| stat.own)
            .sum();
        Used {
            name: self.name,
            asking: of("self").own / TICKS,
            measured: of(&self.measured.to_string()).own / TICKS,
            postgres: (server.own + server.ended_children + sessions) / TICKS,
        }
    }
}

impl Used {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            name: self.name,
            asking: self.asking - before.asking,
            measured: self.measured - before.measured,
            postgres: self.postgres - before.postgres,
        }
    }

    /// One step for each process, its seconds times `scale`.
    pub(crate) fn steps(self, scale: f64, unit: &'static str) -> Vec<Step> {
        [
            (self.name, self.measured),
            ("Postgres", self.postgres),
            ("who asks", self.asking),
        ]
        .map(|(name, seconds)| Step {
            name: format!("processor: {name}"),
            value: seconds * scale,
            unit,
        })
        .into()
    }
}

fn stat(process: &str) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let time = |first: usize| -> Option<f64> {
        let two = fields.get(first..first + 2)?;
        two.iter().map(|field| field.parse::<f64>().ok()).sum()
    };
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: time(11)?,
        ended_children: time(13)?,
    })
}
