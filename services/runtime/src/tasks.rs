//! The tasks of a process: one place that starts them, ends them together, and
//! ends the process when one of them panics.

use std::future::Future;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long tasks get to finish after shutdown begins.
const GRACE: Duration = Duration::from_secs(8);

/// Tasks that live and end together.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled once the process should end; a task returns soon after.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. One that returns before shutdown ends the process.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that knows no end of its own: it is dropped at shutdown.
    pub fn spawn_endless(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.stop();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Runs until SIGTERM, SIGINT, [`Self::stop`] or the end of any task, then
    /// ends the rest within ten seconds.
    ///
    /// # Errors
    ///
    /// The name of the task that ended by itself, or that panicked.
    pub async fn run(mut self) -> Result<(), String> {
        let mut terminate = signal(tokio::signal::unix::SignalKind::terminate());
        let mut interrupt = signal(tokio::signal::unix::SignalKind::interrupt());
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            () = received(&mut terminate) => None,
            () = received(&mut interrupt) => None,
            ended = self.set.join_next() => ended,
        };
        self.stop.cancel();
        let drain = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, drain).await.is_err() {
            tracing::info!("tasks did not end in time; ending them");
            self.set.shutdown().await;
        }
        ended.map_or(Ok(()), |ended| Err(why(ended)))
    }
}

fn signal(kind: tokio::signal::unix::SignalKind) -> Option<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(kind).ok()
}

async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn why(ended: Result<&'static str, JoinError>) -> String {
    match ended {
        Ok(name) => format!("task `{name}` ended by itself"),
        Err(error) => format!("a task panicked: {error}"),
    }
}
