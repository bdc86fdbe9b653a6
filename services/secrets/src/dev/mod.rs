//! A real OpenBao for development and tests: one process, its data in one
//! folder (and in Postgres where asked), sealed by a key beside it.
//!
//! Not for production: whoever can read the folder holds every secret. There
//! Vault stands elsewhere, under somebody else's hands.

mod files;
mod process;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use backon::{ConstantBuilder, Retryable as _};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    AdminVault, Error, Result,
    config::Server,
    connection::{Call, Connection},
    file,
};
use files::Files;
use process::Process;

/// How a development server is run.
#[derive(Debug, Clone)]
pub struct DevVaultConfig {
    /// The `bao` executable; without it, the one on the search path.
    pub binary: Option<PathBuf>,
    /// Everything the server needs and keeps; made private to its owner.
    pub data_dir: PathBuf,
    /// Where it listens, with TLS.
    pub listen: SocketAddr,
    /// Where its data is kept.
    pub storage: DevStorage,
}

/// Where a development server keeps its data.
#[derive(Debug, Clone)]
pub enum DevStorage {
    /// In a table of this Postgres database, given as a URL.
    Postgres(SecretString),
    /// In files of the data folder.
    Files,
    /// Nowhere: it starts anew each time, and fastest. For tests.
    Memory,
}

/// A running server, initialised and unsealed. It ends when this is dropped.
#[derive(Debug)]
pub struct DevVault {
    config: DevVaultConfig,
    files: Files,
    admin: AdminVault,
    process: Process,
}

impl DevVault {
    /// Starts the server, and initialises it where it is new. One that an
    /// earlier process left running on the same folder is ended first.
    ///
    /// # Errors
    /// [`Error::Start`] with the server's last words, or [`Error::File`].
    pub async fn start(config: DevVaultConfig) -> Result<Self> {
        let files = Files::prepare(&config)?;
        let process = Process::start(&binary(&config), &files).await?;
        let mut vault = Self {
            admin: AdminVault {
                address: format!("https://{}", config.listen),
                ca_file: Some(files.ca()),
                token: SecretString::default(),
            },
            config,
            files,
            process,
        };
        vault.come_up().await?;
        Ok(vault)
    }

    /// Where it is and how to administer it; the token ends with the storage.
    pub fn admin(&self) -> &AdminVault {
        &self.admin
    }

    /// `https://host:port`.
    pub fn address(&self) -> &str {
        &self.admin.address
    }

    /// PEM file with the authority that vouches for the server.
    pub fn ca_file(&self) -> PathBuf {
        self.files.ca()
    }

    /// The process id, for those who watch it.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until the server ends by itself, which it should not; returns
    /// what it said last.
    pub async fn ended(&mut self) -> Error {
        self.process.ended(&self.files).await
    }

    /// Ends the server and starts it again on the same data, which also
    /// unseals it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop().await;
        self.process = Process::start(&binary(&self.config), &self.files).await?;
        self.come_up().await
    }

    /// Ends the server within seconds.
    pub async fn stop(mut self) {
        self.process.stop().await;
    }

    /// Waits until it answers, initialises it where needed, waits until it is
    /// unsealed.
    async fn come_up(&mut self) -> Result<()> {
        let server = Server {
            timeout: Duration::from_secs(30),
            ..self.admin.server()?
        };
        let anonymous = Connection::open(&server, None)?;
        let operation = "the initialisation";
        let state = self
            .patiently(|| anonymous.call(operation, Call::get("sys/init")))
            .await?;
        if state["initialized"].as_bool() == Some(false) {
            let shares = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
            let made = anonymous
                .call(operation, Call::post("sys/init", shares))
                .await?;
            let token = made["root_token"]
                .as_str()
                .ok_or_else(|| Error::answer(operation))?;
            // Written before anything else happens: without it the storage is
            // worth nothing, and the next start takes a new one.
            file::write_secret(&self.files.admin_token(), &token.into())?;
        }
        self.admin.token = file::read_secret(&self.files.admin_token())?;
        // Not healthy while it is a standby, which OpenBao is for a moment: it
        // reads then, but does not write.
        let health = || anonymous.call("the health check", Call::get("sys/health"));
        self.patiently(health).await?;
        let admin = Connection::open(&server, Some(&self.admin.token))?;
        self.patiently(|| admin.call(operation, Call::get("auth/token/lookup-self")))
            .await?;
        Ok(())
    }

    /// Repeats `attempt` while the server comes up; gives up when it ended.
    async fn patiently<T, F>(&mut self, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let often = ConstantBuilder::default()
            .with_delay(Duration::from_millis(50))
            .with_max_times(1200);
        let attempts = attempt.retry(often).when(Error::is_transient);
        tokio::select! {
            ended = self.process.ended(&self.files) => Err(ended),
            outcome = attempts => outcome.map_err(|error| self.files.last_words(&error.to_string())),
        }
    }
}

fn binary(config: &DevVaultConfig) -> PathBuf {
    let program = config.binary.as_deref().unwrap_or(Path::new("bao"));
    if program.components().count() > 1 {
        return program.to_owned();
    }
    on_search_path(program).unwrap_or_else(|| program.to_owned())
}

/// Where a program is. The server gets an environment of its own, in which it
/// would be looked for elsewhere.
fn on_search_path(program: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
