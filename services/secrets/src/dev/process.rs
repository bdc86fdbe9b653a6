//! The server's process: started, watched, ended.

use std::{fs, path::Path, process::Stdio, time::Duration};

use backon::{ConstantBuilder, Retryable as _};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use crate::{Error, Result, file};

use super::files::Files;

/// How long a server may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    pub(super) async fn start(binary: &Path, files: &Files) -> Result<Self> {
        end_earlier(files).await;
        file::write(&files.log(), "", 0o600)?;
        let open = || fs::OpenOptions::new().append(true).open(files.log());
        let problem = |error: std::io::Error| Error::Start {
            problem: format!(
                "{}: {error}; name the `bao` executable or install OpenBao",
                binary.display()
            ),
        };
        let child = Command::new(binary)
            .arg("server")
            .arg("-config")
            .arg(files.server_config())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(open().map_err(problem)?)
            .stderr(open().map_err(problem)?)
            // A Ctrl-C at the terminal reaches us alone; who holds this ends
            // the server after what depends on it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(problem)?;
        if let Some(id) = child.id() {
            file::write(&files.pid(), &id.to_string(), 0o600)?;
        }
        Ok(Self { child })
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) async fn ended(&mut self, files: &Files) -> Error {
        match self.child.wait().await {
            Ok(status) => files.last_words(&format!("it ended ({status})")),
            Err(error) => files.last_words(&error.to_string()),
        }
    }

    pub(super) async fn stop(&mut self) {
        if let Some(pid) = self.child.id().and_then(pid) {
            kill(pid, Signal::SIGTERM).ok();
        }
        if tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await.ok();
        }
    }
}

/// Ends a server that an earlier, killed process of ours left behind.
async fn end_earlier(files: &Files) {
    let known = fs::read_to_string(files.pid())
        .ok()
        .and_then(|id| id.parse().ok())
        .and_then(pid);
    let Some(pid) = known.filter(|pid| is_ours(*pid, files)) else {
        return;
    };
    tracing::info!(%pid, "ending the OpenBao that an earlier run left behind");
    kill(pid, Signal::SIGTERM).ok();
    let often = ConstantBuilder::default()
        .with_delay(Duration::from_millis(50))
        .with_max_times(100);
    let gone = || async { if is_ours(pid, files) { Err(()) } else { Ok(()) } };
    if gone.retry(often).await.is_err() {
        kill(pid, Signal::SIGKILL).ok();
        gone.retry(often).await.ok();
    }
}

/// Whether the process is a server on these very files.
fn is_ours(pid: Pid, files: &Files) -> bool {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let config = files.server_config();
    command_line
        .split(|byte| *byte == 0)
        .any(|argument| argument == config.as_os_str().as_encoded_bytes())
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id)
        .ok()
        .filter(|id| *id > 1)
        .map(Pid::from_raw)
}
