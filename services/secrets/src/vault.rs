//! [`Vault`]: one service's login, kept alive, and the way its calls go.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable as _};
use rustify::Endpoint;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use vaultrs::api::{
    AuthInfo,
    auth::approle::requests::LoginWithApproleRequest,
    token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest},
};

use crate::{
    Error, Result, VaultConfig,
    config::{Mounts, Server},
    connection::Connection,
    file,
};

/// How long [`Vault::keep_alive`] waits after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// A service's way to Vault; clones share one login.
///
/// Every call logs in first where there is no login, and once more where the
/// token turns out to be dead; every call has a time-out.
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    config: VaultConfig,
    /// Instead of the one in the configuration's file.
    secret_id: Option<SecretString>,
    server: Server,
    mounts: Mounts,
    session: RwLock<Option<Arc<Session>>>,
    /// Held while logging in, so that many callers make one login.
    login: Mutex<()>,
}

/// A token and how long it lives.
struct Session {
    connection: Connection,
    since: Instant,
    /// Life at the last renewal.
    life: Duration,
    /// Life at the login: a renewal that gives much less nears the token's
    /// end.
    full_life: Duration,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// A client that logs in at its first call.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the configuration cannot work.
    pub fn new(config: VaultConfig) -> Result<Self> {
        Self::with_secret_id(config, None)
    }

    pub(crate) fn with_secret_id(
        config: VaultConfig,
        secret_id: Option<SecretString>,
    ) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                server: config.server()?,
                mounts: config.mounts(),
                config,
                secret_id,
                session: RwLock::new(None),
                login: Mutex::new(()),
            }),
        })
    }

    /// A client that is logged in; tries for as long as the configuration
    /// says.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the configuration cannot work, else why the
    /// last login failed.
    pub async fn connect(config: VaultConfig) -> Result<Self> {
        let vault = Self::new(config)?;
        let patience = Duration::from_secs(vault.shared.config.connect_wait_seconds);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(RETRY)
            .with_total_delay(Some(patience))
            .without_max_times();
        (|| vault.session())
            .retry(backoff)
            .when(|error| patience > Duration::ZERO && error.is_transient())
            .notify(|error, _| tracing::info!(%error, "waiting for Vault"))
            .await?;
        Ok(vault)
    }

    /// Keeps the login alive until dropped: renews the token at half its
    /// life, and logs in again when renewal is refused or gives much less
    /// than the login did. The caller runs it in its own set of tasks.
    pub fn keep_alive(&self) -> impl Future<Output = ()> + Send + use<> {
        let vault = self.clone();
        async move {
            let mut failing = false;
            loop {
                let pause = match vault.tend().await {
                    Ok(pause) => {
                        if std::mem::take(&mut failing) {
                            tracing::info!("logged in to Vault again");
                        }
                        pause
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(%error, "no login to Vault; trying on");
                        }
                        RETRY
                    }
                };
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Gives the token back, so that it ends before its time.
    pub async fn log_out(&self) {
        if let Some(session) = self.current() {
            self.forget(&session);
            let given_back = session
                .connection
                .call("giving its token back", RevokeTokenSelfRequest {})
                .await;
            if let Err(error) = given_back {
                tracing::debug!(%error, "a token was not given back; it ends by itself");
            }
        }
    }

    pub(crate) fn config(&self) -> &VaultConfig {
        &self.shared.config
    }

    pub(crate) fn mounts(&self) -> &Mounts {
        &self.shared.mounts
    }

    /// Sends one request and returns the data of the answer; `operation`
    /// completes "Vault does not permit …".
    pub(crate) async fn data<E: Endpoint>(
        &self,
        operation: &str,
        request: impl Fn() -> E,
    ) -> Result<E::Response> {
        let mut answer = self.call(operation, request).await?;
        serde_json::from_value(answer["data"].take()).map_err(|_| Error::answer(operation))
    }

    /// Sends one request, and once more under a new login when it was denied
    /// because the token is dead; returns the whole envelope.
    pub(crate) async fn call<E: Endpoint>(
        &self,
        operation: &str,
        request: impl Fn() -> E,
    ) -> Result<Value> {
        let session = self.session().await?;
        let outcome = session.connection.call(operation, request()).await;
        if !matches!(outcome, Err(Error::Denied { .. })) || session.is_alive(operation).await? {
            return outcome;
        }
        self.forget(&session);
        self.session()
            .await?
            .connection
            .call(operation, request())
            .await
    }

    /// One round of [`Self::keep_alive`]; returns when the next is due.
    async fn tend(&self) -> Result<Duration> {
        let session = self.session().await?;
        let due = session.life / 2;
        let age = session.since.elapsed();
        if age < due {
            return Ok(due - age);
        }
        match session.renewed().await {
            Ok(renewed) if renewed.life * 2 > renewed.full_life => {
                let due = renewed.life / 2;
                self.replace(&session, Some(Arc::new(renewed)));
                Ok(due)
            }
            Ok(_) | Err(Error::Denied { .. } | Error::Invalid { .. }) => {
                self.forget(&session);
                Ok(self.session().await?.life / 2)
            }
            Err(error) => Err(error),
        }
    }

    /// The current login, or a new one.
    async fn session(&self) -> Result<Arc<Session>> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let _one_at_a_time = self.shared.login.lock().await;
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let session = Arc::new(self.log_in().await?);
        self.replace_any(Some(Arc::clone(&session)));
        Ok(session)
    }

    async fn log_in(&self) -> Result<Session> {
        let Shared {
            config,
            server,
            mounts,
            ..
        } = &*self.shared;
        let secret_id = match &self.shared.secret_id {
            Some(secret_id) => secret_id.clone(),
            None => file::read_secret(&config.secret_id_file)?,
        };
        let anonymous = Connection::open(server, None)?;
        let role = mounts.role(&config.role);
        let login = LoginWithApproleRequest {
            mount: mounts.approle(),
            role_id: role.clone(),
            secret_id: secret_id.expose_secret().to_owned(),
        };
        match anonymous.call("the login", login).await {
            Ok(granted) => Session::new(&anonymous, "the login", &granted),
            Err(Error::Invalid { .. } | Error::Denied { .. }) => Err(Error::LoginRefused {
                role,
                secret_id_file: config.secret_id_file.clone(),
            }),
            Err(error) => Err(error),
        }
    }

    fn current(&self) -> Option<Arc<Session>> {
        let session = self
            .shared
            .session
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        session
            .clone()
            .filter(|session| session.since.elapsed() < session.life)
    }

    fn forget(&self, session: &Arc<Session>) {
        self.replace(session, None);
    }

    /// Puts `new` in the place of `old`, unless somebody was faster.
    fn replace(&self, old: &Arc<Session>, new: Option<Arc<Session>>) {
        let mut session = self
            .shared
            .session
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if session
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, old))
        {
            *session = new;
        }
    }

    fn replace_any(&self, new: Option<Arc<Session>>) {
        *self
            .shared
            .session
            .write()
            .unwrap_or_else(PoisonError::into_inner) = new;
    }
}

impl Session {
    /// What the server granted in its answer to `operation`.
    fn new(connection: &Connection, operation: &str, granted: &Value) -> Result<Self> {
        let auth = AuthInfo::deserialize(&granted["auth"]).map_err(|_| Error::answer(operation))?;
        let life = Duration::from_secs(auth.lease_duration);
        Ok(Self {
            connection: connection.with_token(&auth.client_token),
            since: Instant::now(),
            life,
            full_life: life,
        })
    }

    /// The same token with a longer life.
    async fn renewed(&self) -> Result<Self> {
        let operation = "the renewal of its own token";
        let granted = self
            .connection
            .call(operation, RenewTokenSelfRequest::default())
            .await?;
        let renewed = Self::new(&self.connection, operation, &granted)?;
        Ok(Self {
            full_life: self.full_life,
            ..renewed
        })
    }

    /// Whether the server still knows the token.
    async fn is_alive(&self, operation: &str) -> Result<bool> {
        match self
            .connection
            .call(operation, LookupTokenSelfRequest {})
            .await
        {
            Ok(_) => Ok(true),
            Err(Error::Denied { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
