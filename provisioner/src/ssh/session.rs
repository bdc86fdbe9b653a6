//! One session: what all calls to a machine share.

use super::connect::Link;
use super::forward::Forwards;
use super::{PoolConfig, Target};
use crate::docker::Engine;
use crate::error::{Error, Result};
use russh::Disconnect;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

/// Commands at once in one session: sshd's `MaxSessions` is 10.
const MAX_COMMANDS: usize = 8;

/// A session with one machine. Cheap to clone; ask [`Machines`](super::Machines)
/// for it anew at each step, so that a lost one is replaced.
#[derive(Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) target: Target,
    config: PoolConfig,
    link: Arc<Link>,
    forwards: Arc<Forwards>,
    commands: Arc<Semaphore>,
    engine: OnceCell<Engine>,
}

impl Session {
    pub(super) fn new(
        target: Target,
        config: PoolConfig,
        link: Link,
        forwards: Arc<Forwards>,
    ) -> Self {
        let inner = Inner {
            target,
            config,
            link: Arc::new(link),
            forwards,
            commands: Arc::new(Semaphore::new(MAX_COMMANDS)),
            engine: OnceCell::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The machine's identifier.
    #[must_use]
    pub fn machine_id(&self) -> &str {
        &self.inner.target.machine_id
    }

    /// Whether the session ended: by the machine, the network or
    /// [`Machines::forget`](super::Machines::forget).
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner.link.is_closed()
    }

    pub(super) async fn disconnect(&self) {
        let goodbye = Disconnect::ByApplication;
        // A session that is lost needs no goodbye.
        self.inner.link.disconnect(goodbye, "", "").await.ok();
    }

    pub(crate) fn is_root(&self) -> bool {
        self.inner.target.user == "root"
    }

    pub(crate) fn address(&self) -> &str {
        &self.inner.target.address
    }

    pub(crate) fn config(&self) -> &PoolConfig {
        &self.inner.config
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.inner.link
    }

    pub(crate) fn forwards(&self) -> &Forwards {
        &self.inner.forwards
    }

    pub(crate) fn commands(&self) -> &Arc<Semaphore> {
        &self.inner.commands
    }

    /// The machine's Docker, found at the first call.
    pub(crate) async fn engine(&self) -> Result<&Engine> {
        self.inner
            .engine
            .get_or_try_init(|| Engine::connect(self))
            .await
    }

    /// Passes the seam that crash tests hold; stands before each side effect.
    pub(crate) fn effect(&self, name: &'static str) -> Result<()> {
        match &self.inner.config.before_effect {
            Some(hook) => hook(name),
            None => Ok(()),
        }
    }

    /// Waits for many calls together no longer than for so many: how many there are
    /// is what a machine says, and each may take its time.
    pub(crate) async fn together<T>(
        &self,
        what: &'static str,
        calls: u32,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let limit = self.config().call_timeout * calls;
        self.within(what, limit, Box::pin(work)).await
    }

    /// Waits for something no longer than allowed.
    pub(crate) async fn within<T>(
        &self,
        what: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match timeout(limit, work).await {
            Ok(done) => done,
            Err(_) if self.is_lost() => Err(Error::Lost { what }),
            Err(_) => Err(Error::Timeout {
                what,
                seconds: limit.as_secs(),
            }),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("machine_id", &self.machine_id())
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}
