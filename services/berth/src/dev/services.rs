//! The services of `berth dev`: each a process of its own, started again when
//! it ends, and ended with us.

use crate::serve::Role;
use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt;
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

/// A service: a role of this executable, or the signer, which is one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Role(Role),
    Signer,
}

impl Service {
    /// Every service, in the order in which they are started.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Role::ALL.map(Self::Role).into_iter().chain([Self::Signer])
    }

    /// The name in certificates, Vault and configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Role(role) => role.name(),
            Self::Signer => "signer",
        }
    }

    /// What runs it, and how.
    fn command(self, berth: &Path, dir: &Path) -> Command {
        let (program, words, config) = match self {
            Self::Role(role) => {
                let words = vec!["serve", role.name()];
                (berth.to_owned(), words, super::files::config(dir))
            }
            Self::Signer => {
                let config = super::files::signer_config(dir);
                (super::signer::beside(berth), vec!["serve"], config)
            }
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["--end-with-parent", "--config"])
            .arg(config);
        command
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the services are run.
#[derive(Debug, Clone)]
pub(super) struct Services {
    /// The data folder, with their configuration.
    pub(super) dir: PathBuf,
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
        std::fs::create_dir_all(logs(&self.dir))?;
        let berth = std::env::current_exe().context("cannot find this program")?;
        let mut running = JoinSet::new();
        for service in Service::all() {
            for replica in 0..self.replicas {
                let keeper = Keeper {
                    berth: berth.clone(),
                    dir: self.dir.clone(),
                    service,
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

/// Folder for logs and process ids.
fn logs(dir: &Path) -> PathBuf {
    dir.join("logs")
}

/// Keeps one process running.
struct Keeper {
    berth: PathBuf,
    dir: PathBuf,
    service: Service,
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

    /// Name of the process in logs and files: `leasing`, or `leasing-2` for the
    /// second.
    fn name(&self) -> String {
        if self.replica == 0 {
            self.service.to_string()
        } else {
            format!("{}-{}", self.service, self.replica + 1)
        }
    }

    fn start(&self) -> anyhow::Result<Child> {
        let (name, logs) = (self.name(), logs(&self.dir));
        let log = append(&logs.join(format!("{name}.log")))?;
        let mut command = self.service.command(&self.berth, &self.dir);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            // Ctrl-C in the terminal is for us alone; we end them in order.
            .process_group(0);
        for (key, value) in super::ports::overrides(self.service, self.replica) {
            command.env(key, value);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        if let Some(id) = child.id() {
            std::fs::write(logs.join(format!("{name}.pid")), id.to_string())?;
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
