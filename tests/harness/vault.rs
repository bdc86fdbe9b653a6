//! OpenBao, as its administrator sees it.

use crate::system::Berth;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::process::{Command, Output};

/// Where `berth dev` has OpenBao listen, inside the machines' network.
pub(crate) const ADDRESS: &str = "https://127.0.0.1:8200";

impl Berth {
    /// Runs `bao WORDS` with the token that may do everything.
    fn bao(&self, words: &[&str]) -> Output {
        let dir = self.dir().join("openbao");
        let token = fs::read_to_string(dir.join("admin-token")).unwrap();
        let mut bao = Command::new(self.bao_program());
        bao.args(words)
            .env("VAULT_ADDR", ADDRESS)
            .env("VAULT_CACERT", dir.join("ca.pem"))
            .env("VAULT_TOKEN", token.trim());
        let answer = self.rig().in_fabric(|| bao.output()).unwrap();
        answer.unwrap_or_else(|error| panic!("bao: {error}"))
    }

    /// The value of a node's secret.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn secret(&self, node_id: &str, name: &str) -> String {
        let path = format!("nodes/{node_id}/{name}");
        let answer = self.bao(&["kv", "get", "-format=json", "-mount=berth", &path]);
        let answer: Value = serde_json::from_slice(&answer.stdout)
            .unwrap_or_else(|_| panic!("{path}: {}", String::from_utf8_lossy(&answer.stderr)));
        let value = answer["data"]["data"]["value"].as_str();
        value.expect("a secret has a value").to_owned()
    }

    /// Whether Vault still knows a secret of the node.
    #[must_use]
    pub fn has_secrets(&self, node_id: &str) -> bool {
        let path = format!("nodes/{node_id}");
        let answer = self.bao(&["kv", "list", "-format=json", "-mount=berth", &path]);
        answer.status.success()
    }

    /// Seals Vault: it answers nothing that anybody needs.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub fn seal_vault(&self) {
        let answer = self.bao(&["operator", "seal"]);
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(answer.status.success(), "bao operator seal: {said}");
    }

    /// Ends the server at once; it unseals itself when it is started again.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn kill_vault(&self) {
        let pid = fs::read_to_string(self.dir().join("openbao/pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().expect("a process id"));
        kill(pid, Signal::SIGKILL).unwrap();
    }
}
