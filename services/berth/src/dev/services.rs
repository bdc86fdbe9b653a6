//! The services of `berth dev`: each a process of its own, started again when
//! it ends, and ended with us.

use crate::serve::Role;
use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a service gets to end by itself.
const GRACE: Duration = Duration::from_secs(6);
/// Pause before a service that ended is started again.
const PAUSE: Duration = Duration::from_millis(500);

/// How the services are run.
#[derive(Debug, Clone)]
pub(super) struct Services {
    /// Configuration of all of them.
    pub(super) config: PathBuf,
    /// Folder for their logs and process ids.
    pub(super) logs: PathBuf,
    /// How many of each.
    pub(super) replicas: u8,
}

impl Services {
    /// Runs all of them until `stop`, which it sets when it cannot.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let outcome = self.keep_all(&stop).await;
        stop.cancel();
        outcome
    }

    async fn keep_all(self, stop: &CancellationToken) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.logs)?;
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut running = JoinSet::new();
        for role in Role::ALL {
            for replica in 0..self.replicas {
                let keeper = Keeper {
                    program: program.clone(),
                    config: self.config.clone(),
                    logs: self.logs.clone(),
                    role,
                    replica,
                };
                running.spawn(keeper.keep(stop.clone()));
            }
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Keeps one process running.
struct Keeper {
    program: PathBuf,
    config: PathBuf,
    logs: PathBuf,
    role: Role,
    replica: u8,
}

impl Keeper {
    async fn keep(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let mut child = self.start()?;
            tokio::select! {
                () = stop.cancelled() => return end(child).await,
                _ = child.wait() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn start(&self) -> anyhow::Result<Child> {
        let name = super::replica_name(self.role, self.replica);
        let log = append(&self.logs.join(format!("{name}.log")))?;
        let mut command = Command::new(&self.program);
        command
            .args(["serve", self.role.name(), "--end-with-parent", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            // Ctrl-C in the terminal is for us alone; we end them in order.
            .process_group(0);
        for (key, value) in super::ports::overrides(self.role, self.replica) {
            command.env(key, value);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        if let Some(id) = child.id() {
            std::fs::write(self.logs.join(format!("{name}.pid")), id.to_string())?;
        }
        Ok(child)
    }
}

fn append(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

async fn end(mut child: Child) -> anyhow::Result<()> {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended already.
        kill(Pid::from_raw(id), Signal::SIGTERM).ok();
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        child.kill().await.ok();
    }
    Ok(())
}
