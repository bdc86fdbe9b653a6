//! A prepared OpenBao of a test's own, with leasing logged in.

use berth_secrets::bootstrap::{BootstrapPlan, bootstrap};
use berth_secrets::dev::{DevStorage, DevVault, DevVaultConfig};
use berth_secrets::{Error, Vault, VaultConfig, deliver_secret_id};
use std::env;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) struct Server {
    pub(crate) leasing: Vault,
    // Both end with it.
    _vault: DevVault,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = start(&folder).await;
        let plan = BootstrapPlan::default();
        bootstrap(vault.admin(), &plan).await.unwrap();
        let file = folder.path().join("leasing");
        let config = VaultConfig::new(vault.address(), Some(vault.ca_file()), "leasing", file);
        deliver_secret_id(vault.admin(), &config).await.unwrap();
        Self {
            leasing: Vault::connect(config).await.unwrap(),
            _vault: vault,
            _folder: folder,
        }
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
