//! The program as provisioning and Docker use it: its commands, its files, its end.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::bridge::{Client, wanted};
use crate::control_plane::{ControlPlane, SERVER_NAME, soon};
use crate::duty::{Duty, signed};
use crate::eventually::eventually;
use crate::held::Held;
use hyper::StatusCode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// An agent's folder with its configuration; the folder goes with it.
struct Agent {
    folder: TempDir,
    plane: ControlPlane,
}

impl Agent {
    fn new() -> Self {
        Self::reporting_to(ControlPlane::new(), "https://127.0.0.1:1")
    }

    fn reporting_to(plane: ControlPlane, otlp: &str) -> Self {
        let agent = Self {
            folder: tempfile::tempdir().unwrap(),
            plane,
        };
        let folder = agent.folder.path();
        std::fs::write(folder.join("ca.pem"), agent.plane.services.pem()).unwrap();
        std::fs::create_dir_all(folder.join("volumes/data")).unwrap();
        let golden = include_str!("../../../../images/agent/golden/agent.toml");
        let before = golden.split("[[probes]]").next().unwrap_or_default();
        let here = folder.display().to_string();
        let text = before
            .replace("/run/berth/identity", &here)
            .replace("/etc/berth", &here)
            .replace("\"/volumes\"", &format!("\"{here}/volumes\""))
            .replace("interval_s = 10", "interval_s = 1")
            .replace("renew_after_s = 28800", "renew_after_s = 4000000000")
            .replace("monitoring.berth.internal", SERVER_NAME)
            .replace("https://203.0.113.9:4317", otlp);
        let disk = "[[probes]]\nkind = \"disk\"\nname = \"disk\"\nvolume = \"data\"\n";
        std::fs::write(folder.join("agent.toml"), format!("{text}{disk}")).unwrap();
        agent
    }

    /// Gives it a signer.
    fn carries(&self, listen: SocketAddr, signer: SocketAddr) {
        let section = include_str!("../../../../images/agent/golden/signer.toml")
            .replace("0.0.0.0:9000", &listen.to_string())
            .replace("203.0.113.9:7208", &signer.to_string())
            .replace("\"signer\"", &format!("\"{SERVER_NAME}\""));
        let file = self.path("agent.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{text}\n{section}")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth-agent"));
        command
            .arg("--config")
            .arg(self.path("agent.toml"))
            .args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Standard output of a command, or its message.
    async fn call(&self, command: &str, input: &str) -> Result<String, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut child = self
            .command(&[command])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(text)?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have read enough, and be gone.
            stdin.write_all(input.as_bytes()).await.ok();
        }
        let output = soon(child.wait_with_output()).await.map_err(text)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn terminate(child: &Child) {
    let id = child.id().unwrap().try_into().unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
}

#[tokio::test]
async fn a_request_is_of_the_same_key_whoever_asks_and_however_often() {
    let agent = Agent::new();
    let (one, two, three) = tokio::join!(
        agent.call("csr", ""),
        agent.call("csr", ""),
        agent.call("csr", "")
    );
    let chain = agent.plane.placements.sign(&one.unwrap(), 1, (2000, 4000));
    for request in [two.unwrap(), three.unwrap()] {
        let other = agent.plane.placements.sign(&request, 1, (2000, 4000));
        agent.call("install-certificate", &other).await.unwrap();
    }
    agent.call("install-certificate", &chain).await.unwrap();
    assert_eq!(mode(&agent.path("key.pem")), 0o600);
    let left: Vec<_> = std::fs::read_dir(agent.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".pem."))
        .collect();
    assert!(left.is_empty(), "drafts stay behind: {left:?}");
}

#[tokio::test]
async fn a_certificate_counts_only_when_it_fits_the_key() {
    let (agent, stranger) = (Agent::new(), Agent::new());
    let request = agent.call("csr", "").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(agent.path("request.pem")).unwrap(),
        request
    );
    let right = agent.plane.placements.sign(&request, 1, (2000, 4000));
    let foreign_request = stranger.call("csr", "").await.unwrap();
    let foreign = agent
        .plane
        .placements
        .sign(&foreign_request, 2, (2000, 4000));
    let chain = format!("{right}{}", agent.plane.placements.pem());
    agent.call("install-certificate", &chain).await.unwrap();

    let key = std::fs::read_to_string(agent.path("key.pem")).unwrap();
    let huge = chain.repeat(100);
    for (text, reason) in [
        (foreign.as_str(), "does not fit the key"),
        ("", "no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "damaged",
        ),
        (key.as_str(), "not a certificate"),
        (huge.as_str(), "64 KiB"),
    ] {
        let message = agent.call("install-certificate", text).await.unwrap_err();
        assert!(message.contains(reason), "{message}");
        assert!(!message.contains("PRIVATE"), "{message}");
    }
    assert_eq!(
        std::fs::read_to_string(agent.path("certificate.pem")).unwrap(),
        chain
    );
}

#[tokio::test]
async fn it_measures_from_the_start_reports_once_certified_and_ends_when_told() {
    let plane = ControlPlane::new();
    let (otlp, mut arrived) = plane.receiver("127.0.0.1:0", |_| Ok(())).await;
    let agent = Agent::reporting_to(plane, &format!("https://{}", otlp.address));
    assert!(
        agent
            .call("healthcheck", "")
            .await
            .unwrap_err()
            .contains("no round")
    );

    let mut running = agent.command(&["run"]).spawn().unwrap();
    let mut log = BufReader::new(running.stdout.take().unwrap()).lines();
    let first = soon(log.next_line()).await.unwrap().unwrap();
    assert!(first.contains("\"node_id\":\"node-0198c0de"), "{first}");
    soon(async { while agent.call("healthcheck", "").await.is_err() {} }).await;
    let request = agent.call("csr", "").await.unwrap();
    let chain = agent.plane.placements.sign(&request, 5, (2000, 4000));
    agent.call("install-certificate", &chain).await.unwrap();
    let waiting = soon(log.next_line()).await.unwrap().unwrap();
    assert!(waiting.contains("waiting for a certificate"), "{waiting}");
    let used = soon(log.next_line()).await.unwrap().unwrap();
    assert!(used.contains("certificate in use"), "{used}");

    let sent = soon(arrived.recv()).await.unwrap();
    assert_eq!(sent.serial, 5);
    assert_eq!(sent.values("berth.disk.size").len(), 1);
    assert_eq!(sent.values("berth.agent.dropped"), [0.0]);

    terminate(&running);
    assert!(soon(running.wait()).await.unwrap().success());
    let mut lines = vec![first, waiting, used];
    while let Some(line) = soon(log.next_line()).await.unwrap() {
        lines.push(line);
    }
    let key = std::fs::read_to_string(agent.path("key.pem")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for line in &lines {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(parsed["level"].is_string(), "{line}");
        assert!(!line.contains(secret), "{line}");
    }
}

#[tokio::test]
async fn it_carries_requests_to_the_signer_of_its_file() {
    let plane = ControlPlane::new();
    let mut duty = Duty::start(&plane, "127.0.0.1:0", signed).await;
    let agent = Agent::reporting_to(plane, "https://127.0.0.1:1");
    let held = Held::new();
    agent.carries(held.address(), duty.address);

    let mut running = agent.command(&["run"]).spawn().unwrap();
    let request = agent.call("csr", "").await.unwrap();
    let chain = agent.plane.placements.sign(&request, 5, (2000, 4000));
    agent.call("install-certificate", &chain).await.unwrap();
    eventually("a request is signed", async || {
        let mut client = Client::connect(held.address()).await.ok()?;
        let answer = client.ask(wanted("{}")).await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(soon(duty.asked.recv()).await.unwrap().serial, 5);
    terminate(&running);
    assert!(soon(running.wait()).await.unwrap().success());
}
