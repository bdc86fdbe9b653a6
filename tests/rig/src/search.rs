//! Looking for secrets on a machine where none may be, as whoever owns it could.

use std::io::Write as _;
use std::process::Stdio;

use crate::error::Context;
use crate::{Error, Machine, Result};

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Files, and processes whose memory was searched, that hold one of the secrets.
    pub found: Vec<String>,
    /// How many files were read.
    pub files: u64,
    /// How many bytes of memory were read.
    pub memory: u64,
}

impl Machine {
    /// Looks for secrets, given in hex, in all files that are this machine's own and in the memory of all its
    /// processes, those in containers too.
    pub fn search(&self, secrets: &str) -> Result<Search> {
        let what = || "search a machine".to_owned();
        let mut python = self.command("python3")?;
        let mut python = python
            .args(["-c", include_str!("files/search.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during(what)?;
        if let Some(mut input) = python.stdin.take() {
            input.write_all(secrets.as_bytes()).during(what)?;
        }
        let output = python.wait_with_output().during(what)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let found = said.lines().filter_map(|line| line.strip_prefix("found "));
        let found: Vec<String> = found.map(str::to_owned).collect();
        let end = said
            .lines()
            .find_map(|line| line.strip_prefix("searched "))
            .and_then(|rest| rest.split_once(' '))
            .and_then(|(files, memory)| Some((files.parse().ok()?, memory.parse().ok()?)));
        let (files, memory) = end.ok_or_else(|| Error::Command {
            command: "python3 search.py".into(),
            status: output.status.to_string(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })?;
        Ok(Search {
            found,
            files,
            memory,
        })
    }
}
