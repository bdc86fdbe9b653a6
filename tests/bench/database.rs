//! What Postgres took of something, as it logs every statement with its time.
//!
//! Writing the log costs a little itself, and is in the time of what is measured.

use crate::row::Step;
use berth_tests::Berth;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::fs;

/// The log of a control plane's Postgres, which is being written.
pub(crate) struct Log;

impl Log {
    /// Has every statement logged from now on.
    pub(crate) fn begin(berth: &Berth) -> Self {
        for statement in [
            // The time as seconds, and the database.
            "alter system set log_line_prefix = '%n %d '",
            "alter system set log_min_duration_statement = 0",
            "select pg_reload_conf()",
        ] {
            drop(berth.sql("postgres", statement));
        }
        Self
    }

    /// Seconds of what was logged between two times.
    pub(crate) fn end(self, berth: &Berth, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Step> {
        let log = fs::read_to_string(berth.dir().join("postgres/postgres.log")).unwrap();
        let mut parts: BTreeMap<String, f64> = BTreeMap::new();
        for logged in log.lines().filter_map(read) {
            if (from..=to).contains(&logged.end) {
                *parts.entry(logged.part()).or_default() += logged.milliseconds / 1e3;
            }
        }
        assert!(!parts.is_empty(), "Postgres logged nothing");
        let step = |(name, value)| Step {
            name,
            value,
            unit: "s",
        };
        parts.into_iter().map(step).collect()
    }
}

/// One statement, or a part of its way: parsed, bound, carried out.
struct Logged<'a> {
    end: DateTime<Utc>,
    database: &'a str,
    milliseconds: f64,
    commits: bool,
}

impl Logged<'_> {
    fn part(&self) -> String {
        let whose = match self.database {
            "berth_provisioning" => "provisioning",
            "berth_openbao" => "Vault",
            _ => "others",
        };
        let what = if self.commits {
            "commits"
        } else {
            "statements"
        };
        format!("beside, database of {whose}: {what}")
    }
}

/// A line such as `1764547200.123 berth_leasing LOG:  duration: 0.1 ms  execute s: select 1`.
fn read(line: &str) -> Option<Logged<'_>> {
    let (head, rest) = line.split_once(" LOG:  duration: ")?;
    let (time, database) = head.split_once(' ')?;
    let (milliseconds, what) = rest.split_once(" ms")?;
    let (seconds, after) = time.split_once('.')?;
    let nanoseconds = after.parse::<u32>().ok()?.checked_mul(1_000_000)?;
    Some(Logged {
        end: DateTime::from_timestamp(seconds.parse().ok()?, nanoseconds)?,
        database: database.trim(),
        milliseconds: milliseconds.parse().ok()?,
        commits: what.trim().to_ascii_lowercase().ends_with(": commit"),
    })
}
