//! A Vault, and logins of signers to it.

use berth_secrets::bootstrap::{BootstrapPlan, bootstrap};
use berth_secrets::dev::{DevStorage, DevVault, DevVaultConfig};
use berth_secrets::{Error, Vault, VaultConfig, deliver_secret_id};
use std::env;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) use crate::made::{key, public_key};

/// A prepared server of this test's own.
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

    /// The signer, logged in.
    pub(crate) async fn signer(&self) -> Vault {
        let config = VaultConfig::new(
            self.vault.address(),
            Some(self.vault.ca_file()),
            "signer",
            self.folder.path().join("signer-secret-id"),
        );
        deliver_secret_id(self.vault.admin(), &config)
            .await
            .unwrap();
        Vault::connect(config).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.vault.stop().await;
    }
}

/// A started server; another test may have taken the port meanwhile.
async fn start(folder: &TempDir) -> DevVault {
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = DevVaultConfig {
            binary: env::var_os("BERTH_BAO").map(PathBuf::from),
            data_dir: folder.path().join("vault"),
            listen: SocketAddr::from(([127, 0, 0, 1], free.port())),
            storage: DevStorage::Memory,
        };
        match DevVault::start(config).await {
            Err(Error::Start { problem }) if problem.contains("address already in use") => {}
            started => return started.unwrap(),
        }
    }
    panic!("no free port");
}
