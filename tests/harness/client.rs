//! The client as people and programs use it.

use crate::system::Berth;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// How a command of the client ended.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: Option<i32>,
    /// What it printed, as JSON; null when it printed none.
    pub json: Value,
    /// What it told people.
    pub said: String,
}

impl Berth {
    /// Runs `berth WORDS --output json`, which must succeed.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Value {
        let answer = self.ask(words);
        assert_eq!(
            answer.code,
            Some(0),
            "berth {}\n{}",
            words.join(" "),
            answer.said
        );
        answer.json
    }

    /// Runs `berth WORDS --output json`, however it ends.
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> Answer {
        let mut command = self.client(words);
        command.args(["--output", "json"]);
        let output = self.heard(&mut command);
        Answer {
            code: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `berth WORDS`, which must succeed, and returns what it prints for
    /// people.
    #[track_caller]
    pub fn print(&self, words: &[&str]) -> String {
        let output = self.heard(&mut self.client(words));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "berth {}\n{said}", words.join(" "));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A command of the client that is not run yet. Nothing of the caller's
    /// surroundings leads it elsewhere.
    pub(crate) fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::program("berth"));
        command
            .arg("--context")
            .arg(self.context())
            .args(words)
            .env_remove("BERTH_ENDPOINT")
            .env_remove("BERTH_TOKEN")
            .env_remove("BERTH_CA_FILE")
            .stdin(Stdio::null());
        command
    }

    /// A file that collects what the client prints, so that all of it can be
    /// searched.
    pub(crate) fn transcript(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir().join("client.log"))
            .unwrap()
    }

    fn heard(&self, command: &mut Command) -> Output {
        let output = command.output().unwrap();
        self.note(&format!(
            "{:?}",
            command.get_args().skip(2).collect::<Vec<_>>()
        ));
        let mut transcript = self.transcript();
        transcript.write_all(&output.stdout).unwrap();
        transcript.write_all(&output.stderr).unwrap();
        output
    }
}
