//! Berth from the start of a process: this program again, which signs in to
//! machines that it has no session with.

use crate::field::put;
use crate::harness::{Authority, USER, deployment};
use berth_provisioner::spec::ImageRef;
use berth_provisioner::{Machines, PoolConfig, Target};
use futures::future::join_all;
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Whose value says what to deploy, and that this is the process that does.
const ASKED: &str = "BERTH_BENCH_COLD";

/// The process that deploys to these machines.
pub(crate) fn command(dir: &Path, targets: &[Target]) -> Command {
    let targets: Vec<_> = targets
        .iter()
        .map(|target| {
            json!([
                target.machine_id,
                target.address,
                target.host_key.to_string()
            ])
        })
        .collect();
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ASKED, json!([dir, targets]).to_string());
    command
}

/// Whether this process is that one.
pub(crate) fn asked() -> bool {
    env::var_os(ASKED).is_some()
}

/// What that process does.
pub(crate) fn main() {
    let asked = env::var_os(ASKED).and_then(|asked| asked.into_string().ok());
    let asked: Value = serde_json::from_str(&asked.unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let dir = text(&asked[0]);
    let dir = Path::new(&dir);
    let index: Value = fs::read(dir.join("layout/index.json"))
        .map(|bytes| serde_json::from_slice(&bytes).unwrap())
        .unwrap();
    let image = ImageRef {
        repository: "registry.invalid/berth/tiny".to_owned(),
        tag: "test".to_owned(),
        digest: text(&index["manifests"][0]["digest"]),
    };
    let deployment = deployment(1, &image);
    let authority = Arc::new(Authority::new(dir));
    let pool = Machines::new(PoolConfig::default(), authority).unwrap();
    let targets: Vec<Target> = asked[1]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| Target {
            machine_id: text(&target[0]),
            address: text(&target[1]),
            user: USER.to_owned(),
            host_key: text(&target[2]).parse().unwrap(),
        })
        .collect();
    let put = targets.iter().map(|target| put(&pool, target, &deployment));
    let parts = Runtime::new().unwrap().block_on(join_all(put));
    println!("{}", json!(parts));
}
