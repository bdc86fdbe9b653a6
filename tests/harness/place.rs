//! What stands on a machine, seen by its owner, who has root there.

use crate::system::Berth;
use berth_rig::Machine;
use serde_json::Value;

/// All of Berth's on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Containers: name and state.
    pub containers: Vec<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Names of networks that Docker does not make by itself.
    pub networks: Vec<String>,
    /// Images: digest or id.
    pub images: Vec<String>,
    /// Files in Berth's folders, on disk and in memory.
    pub files: Vec<String>,
    /// Whether Berth's firewall table stands.
    pub firewall: bool,
}

impl Sight {
    /// Looks at a machine.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let lines = |words: &[&str]| -> Vec<String> {
            let text = machine
                .run(words)
                .unwrap_or_else(|error| panic!("{}: {error}", machine.name()));
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let containers = "{{.Names}} {{.State}}";
        let find = "find /var/lib/berth /run/berth -mindepth 1 2>/dev/null || true";
        let table = "nft list table inet berth 2>/dev/null | head -n 1";
        Self {
            containers: lines(&["docker", "ps", "--all", "--format", containers]),
            volumes: lines(&["docker", "volume", "ls", "--quiet"]),
            networks: lines(&[
                "docker",
                "network",
                "ls",
                "--filter",
                "type=custom",
                "--format",
                "{{.Name}}",
            ]),
            images: lines(&["docker", "images", "--all", "--quiet", "--no-trunc"]),
            files: lines(&["sh", "-c", find]),
            firewall: !lines(&["sh", "-c", table]).is_empty(),
        }
    }
}

impl Berth {
    /// The computer behind a machine of Berth's, and its name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[track_caller]
    pub fn computer(&self, machine_id: &str) -> Machine {
        let machine = self.machine(machine_id);
        let name = machine["name"].as_str().expect("a name");
        self.rig().machine(name).unwrap()
    }

    /// A machine as `berth machine show` prints it.
    #[track_caller]
    pub fn machine(&self, machine: &str) -> Value {
        self.run(&["machine", "show", machine])["machine"].take()
    }
}
