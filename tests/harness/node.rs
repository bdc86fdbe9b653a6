//! Following a node through the client, while it lives.

use crate::eventually;
use crate::system::Berth;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// One thing that happened to a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number.
    #[serde(deserialize_with = "number")]
    pub sequence: i64,
    /// When, in RFC 3339.
    pub create_time: String,
    /// The step, such as `image`.
    pub step: String,
    /// What happened.
    pub message: String,
    /// How much of the step is done; -1 where it has no measure. Canonical
    /// JSON leaves out a zero.
    #[serde(default)]
    pub percent: i32,
    /// State of the node at that time.
    pub state: String,
}

/// Canonical JSON writes numbers of 64 bits as text.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// `berth node watch`, running beside the test.
#[derive(Debug)]
pub struct Watch {
    process: Child,
    printed: PathBuf,
}

impl Watch {
    /// The events that came until now.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let file = File::open(&self.printed).unwrap();
        serde_json::Deserializer::from_reader(file)
            .into_iter::<Value>()
            // The last may be half written.
            .map_while(Result::ok)
            .filter_map(|answer| serde_json::from_value(answer["event"].clone()).ok())
            .collect()
    }

    /// Waits for the first event that is like this.
    #[track_caller]
    pub fn wait_for(&self, what: &str, limit: Duration, like: impl Fn(&Event) -> bool) -> Event {
        eventually(what, limit, || {
            let events = self.events();
            let last = format!("the last event is {:?}", events.last());
            events.into_iter().find(&like).ok_or(last)
        })
    }

    /// Waits until the stream ended by itself, and returns all events.
    ///
    /// # Panics
    ///
    /// When it does not end, or ends badly.
    #[must_use]
    pub fn finish(mut self) -> Vec<Event> {
        let status = eventually("the end of the stream", Duration::from_mins(1), || {
            self.process
                .try_wait()
                .unwrap()
                .ok_or("it goes on".to_owned())
        });
        assert!(status.success(), "berth node watch: {status}");
        self.events()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Berth {
    /// Follows a node.
    #[must_use]
    pub fn watch(&self, node: &str) -> Watch {
        let printed = self.dir().join(format!("watch-{node}.log"));
        let process = self
            .client(&["node", "watch", node, "--output", "json"])
            .stdout(File::create(&printed).unwrap())
            .stderr(self.transcript())
            .spawn()
            .unwrap();
        Watch { process, printed }
    }

    /// A node as `berth node show` prints it.
    #[track_caller]
    pub fn node(&self, node: &str) -> Value {
        self.run(&["node", "show", node])["node"].take()
    }

    /// Waits until a node is in a state, and returns it.
    #[track_caller]
    pub fn node_becomes(&self, node: &str, state: &str, limit: Duration) -> Value {
        eventually(&format!("{node} is {state}"), limit, || {
            let answer = self.ask(&["node", "show", node]);
            let found = answer.json["node"].clone();
            match found["status"]["state"].as_str() {
                Some(now) if now == state => Ok(found),
                Some("STATE_FAILED") if state != "STATE_FAILED" => {
                    panic!("{node} failed: {}", found["status"]["statusReason"])
                }
                _ => Err(format!("{} {}", found["status"], answer.said)),
            }
        })
    }

    /// Waits until the signals of a node are good, and returns its health.
    #[track_caller]
    pub fn node_is_healthy(&self, node: &str, limit: Duration) -> Value {
        eventually(&format!("{node} is healthy"), limit, || {
            let answer = self.ask(&["health", node]);
            let health = answer.json["health"].clone();
            if health["state"] == "STATE_HEALTHY" {
                Ok(health)
            } else {
                Err(format!("{health} {}", answer.said))
            }
        })
    }
}
