//! SSH sessions with leased machines: one a machine, shared by all work.
//!
//! A session pins the host key that was given at enrollment and signs in with
//! a certificate of minutes; it never trusts a key that it sees first. What is
//! deliberately absent: passwords, agents, known-hosts files, host
//! certificates (a pinned key says more), and retries (the caller's work has
//! its own pace).

mod connect;
mod exec;
mod forward;
mod key;
mod session;

pub(crate) use connect::Link;
pub use exec::{Exec, ExecOutput};
pub(crate) use exec::{open_command, quote};
pub use key::HostKey;
pub use session::Session;

use crate::error::{BoxError, Error, Result};
use forward::Forwards;
use futures::future::BoxFuture;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;

/// A machine to sign in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Identifier such as `machine-018f…`; also the principal of the certificate.
    pub machine_id: String,
    /// `address:port` of its sshd.
    pub address: String,
    /// User to sign in as: root, or one that may use `sudo -n`.
    pub user: String,
    /// The pinned host key.
    pub host_key: HostKey,
}

/// Where certificates come from. Its errors are printed and logged: they must
/// hold no secret.
pub trait Credentials: Send + Sync + 'static {
    /// A short-lived OpenSSH user certificate (one line) over a public key (one
    /// line) for one principal.
    fn sign<'a>(
        &'a self,
        public_key: &'a str,
        principal: &'a str,
    ) -> BoxFuture<'a, Result<String, BoxError>>;
}

/// Called with a name before each side effect on a machine; an error stops the
/// work there. For crash tests.
pub type BeforeEffect = Arc<dyn Fn(&'static str) -> Result<()> + Send + Sync>;

/// Limits of all sessions.
#[derive(Clone)]
pub struct PoolConfig {
    /// Longest wait for TCP, key exchange and sign-in together.
    pub connect_timeout: Duration,
    /// Longest wait for one ordinary call.
    pub call_timeout: Duration,
    /// Longest silence during a long call such as a pull.
    pub stall_timeout: Duration,
    /// See [`BeforeEffect`].
    pub before_effect: Option<BeforeEffect>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            call_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(120),
            before_effect: None,
        }
    }
}

impl fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .finish_non_exhaustive()
    }
}

/// All sessions of this process. Cheap to clone.
#[derive(Clone)]
pub struct Machines {
    inner: Arc<Pool>,
}

struct Pool {
    config: PoolConfig,
    credentials: Arc<dyn Credentials>,
    key: Arc<PrivateKey>,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The session with one machine; locked while it is being made, so that one
/// machine sees one connect at a time however much work there is for it.
type Slot = AsyncMutex<Option<Session>>;

impl Machines {
    /// An empty pool; makes this process's key, which never leaves its memory.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`] when there is no randomness for a key.
    pub fn new(config: PoolConfig, credentials: Arc<dyn Credentials>) -> Result<Self> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|e| Error::Credentials(e.to_string().into()))?;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        Ok(Self {
            inner: Arc::new(Pool {
                config,
                credentials,
                key: Arc::new(key),
                slots: Mutex::default(),
            }),
        })
    }

    /// The session with a machine: the one that is open, else a new one.
    ///
    /// # Errors
    ///
    /// [`Error::HostKeyChanged`], [`Error::Unreachable`], [`Error::AuthRefused`],
    /// [`Error::Credentials`], [`Error::Timeout`].
    pub async fn session(&self, target: &Target) -> Result<Session> {
        let pool = &*self.inner;
        let slot = self.slot(&target.machine_id);
        let mut slot = slot.lock().await;
        if let Some(session) = &*slot
            && !session.is_lost()
            && session.inner.target == *target
        {
            return Ok(session.clone());
        }
        *slot = None;
        let forwards = Arc::new(Forwards::default());
        let link = connect::connect(
            target,
            &pool.config,
            &pool.key,
            &*pool.credentials,
            Arc::clone(&forwards),
        )
        .await?;
        let session = Session::new(target.clone(), pool.config.clone(), link, forwards);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// The host key that an address shows, without signing in. Believe it only
    /// after a person compared it.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] and [`Error::Timeout`].
    pub async fn scan(&self, address: &str) -> Result<HostKey> {
        connect::scan(address, self.inner.config.connect_timeout).await
    }

    /// Ends the session with a machine, if there is one.
    pub async fn forget(&self, machine_id: &str) {
        let slot = self.slots().remove(machine_id);
        if let Some(slot) = slot
            && let Some(session) = slot.lock().await.take()
        {
            session.disconnect().await;
        }
    }

    fn slot(&self, machine_id: &str) -> Arc<Slot> {
        Arc::clone(self.slots().entry(machine_id.to_owned()).or_default())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        let slots = &self.inner.slots;
        slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
