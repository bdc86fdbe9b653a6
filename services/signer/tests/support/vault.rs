//! A prepared OpenBao of a test's own.

use berth_secrets::bootstrap::{BootstrapPlan, bootstrap};
use berth_secrets::dev::{DevStorage, DevVault, DevVaultConfig};
use berth_secrets::{Error, Vault, VaultConfig, deliver_secret_id};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) struct Server {
    vault: DevVault,
    folder: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        // A second test of the same process finds it installed.
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let folder = tempfile::tempdir().unwrap();
        let vault = start(&folder).await;
        bootstrap(vault.admin(), &BootstrapPlan::default())
            .await
            .unwrap();
        Self { vault, folder }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        self.vault.address()
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.vault.ca_file()
    }

    /// Folder of secret ids.
    pub(crate) fn secret_ids(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A role, logged in.
    pub(crate) async fn login(&self, role: &str) -> Vault {
        let config = self.config(role).await;
        Vault::connect(config).await.unwrap()
    }

    /// A role that waits for no answer long.
    pub(crate) async fn hasty(&self, role: &str) -> Vault {
        let config = VaultConfig {
            timeout_seconds: 2,
            connect_wait_seconds: 60,
            ..self.config(role).await
        };
        Vault::connect(config).await.unwrap()
    }

    async fn config(&self, role: &str) -> VaultConfig {
        let file = self.secret_ids().join(role);
        let config = VaultConfig::new(self.address(), Some(self.ca_file()), role, file);
        deliver_secret_id(self.vault.admin(), &config)
            .await
            .unwrap();
        config
    }

    /// Ends it for good.
    pub(crate) async fn stop(self) {
        self.vault.stop().await;
    }

    /// Has it answer nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Has it answer again.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.vault.id().unwrap().try_into().unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }
}

/// A started server; another test may have taken the port meanwhile.
async fn start(folder: &TempDir) -> DevVault {
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let config = DevVaultConfig {
            binary: env::var_os("BERTH_BAO").map(PathBuf::from),
            data_dir: folder.path().join("vault"),
            listen: SocketAddr::from(([127, 0, 0, 1], free.unwrap().port())),
            storage: DevStorage::Memory,
        };
        match DevVault::start(config).await {
            Err(Error::Start { problem }) if problem.contains("address already in use") => {}
            started => return started.unwrap(),
        }
    }
    panic!("no free port");
}
