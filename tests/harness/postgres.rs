//! The databases, as their administrator sees them.

use crate::host::{output, text};
use crate::system::Berth;
use std::process::Command;

impl Berth {
    /// Names of all databases of the control plane.
    #[must_use]
    pub fn databases(&self) -> Vec<String> {
        let names = "select datname from pg_database where datname like 'berth_%' order by 1";
        self.sql("postgres", names)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Runs one statement; a line a row, `|` between columns.
    #[must_use]
    #[track_caller]
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new("psql");
        psql.arg("--host")
            .arg(self.dir().join("postgres"))
            .args(["--username", "berth", "--dbname", database])
            .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", statement]);
        text(&mut psql).trim_end().to_owned()
    }

    /// Everything that a database holds.
    #[must_use]
    pub fn dump(&self, database: &str) -> Vec<u8> {
        output(
            Command::new("pg_dump")
                .arg("--host")
                .arg(self.dir().join("postgres"))
                .args(["--username", "berth", database]),
        )
    }
}
