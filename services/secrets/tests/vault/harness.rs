//! A server, prepared, and logins to it.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use berth_secrets::{
    AdminVault, Error, Vault, VaultConfig,
    bootstrap::{BootstrapPlan, bootstrap},
    deliver_secret_id,
    dev::{DevStorage, DevVault, DevVaultConfig},
};
use reqwest::{Certificate, Method};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than any wait of a test on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A prepared server, with a mount prefix of this test's own.
pub(crate) struct Server {
    pub(crate) admin: AdminVault,
    pub(crate) plan: BootstrapPlan,
    pub(crate) folder: TempDir,
    pub(crate) own: Option<DevVault>,
}

impl Server {
    /// The server that the environment names, or one of the test's own.
    pub(crate) async fn start() -> Self {
        match external() {
            Some(admin) => Self::prepared(admin, None, folder()).await,
            None => Self::start_alone().await,
        }
    }

    /// A server that nobody else uses.
    pub(crate) async fn start_alone() -> Self {
        Self::start_with(DevStorage::Memory).await
    }

    /// A server that the test may stop and start again.
    pub(crate) async fn start_durable() -> Self {
        Self::start_with(DevStorage::Files).await
    }

    async fn start_with(storage: DevStorage) -> Self {
        let folder = folder();
        let vault = start_dev(&folder, storage).await;
        Self::prepared(vault.admin().clone(), Some(vault), folder).await
    }

    async fn prepared(admin: AdminVault, own: Option<DevVault>, folder: TempDir) -> Self {
        let plan = BootstrapPlan {
            mount_prefix: format!("test-{:08x}", std::process::id()),
            ..BootstrapPlan::default()
        };
        bootstrap(&admin, &plan).await.unwrap();
        Self {
            admin,
            plan,
            folder,
            own,
        }
    }

    /// How `role` reaches the server, before it has a secret id.
    pub(crate) fn config(&self, role: &str) -> VaultConfig {
        let file = self.folder.path().join(format!("{role}-secret-id"));
        VaultConfig {
            mount_prefix: self.plan.mount_prefix.clone(),
            ..VaultConfig::new(&self.admin.address, self.admin.ca_file.clone(), role, file)
        }
    }

    /// `role`, logged in.
    pub(crate) async fn vault(&self, role: &str) -> Vault {
        let config = self.config(role);
        deliver_secret_id(&self.admin, &config).await.unwrap();
        Vault::connect(config).await.unwrap()
    }

    /// The answer to a request of the administrator's.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self
            .send(self.admin.token.expose_secret(), method, path, &body)
            .await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Status and answer of any request, around everything that is tested.
    pub(crate) async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let mut http = reqwest::Client::builder();
        if let Some(ca) = &self.admin.ca_file {
            let ca = Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
            http = http.tls_certs_only([ca]);
        }
        let url = format!(
            "{}/v1/{}",
            self.admin.address,
            path.replace("PREFIX", &self.plan.mount_prefix)
        );
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let kind = match method.as_str() {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = http.build().unwrap().request(method, url);
        let request = request
            .header("X-Vault-Token", token)
            .header("Content-Type", kind);
        let request = request.body(body.to_string());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// A raw token of `role`.
    pub(crate) async fn token(&self, role: &str) -> String {
        let path = format!("auth/PREFIX-approle/role/{role}/secret-id");
        let made = self.admin("POST", &path, json!({})).await;
        let role_id = format!("{}-{role}", self.plan.mount_prefix);
        let login = json!({ "role_id": role_id, "secret_id": made["data"]["secret_id"] });
        let granted = self.admin("POST", "auth/PREFIX-approle/login", login).await;
        granted["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// The server that only this test uses.
    pub(crate) fn own(&mut self) -> &mut DevVault {
        self.own.as_mut().expect("a server of the test's own")
    }
}

pub(crate) fn folder() -> TempDir {
    install_tls();
    tempfile::tempdir().unwrap()
}

/// How a server in `folder` is run, on a free port.
pub(crate) fn dev_config(folder: &TempDir, storage: DevStorage) -> DevVaultConfig {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    DevVaultConfig {
        binary: env::var_os("BERTH_BAO").map(PathBuf::from),
        data_dir: folder.path().join("vault"),
        listen: SocketAddr::from(([127, 0, 0, 1], free.port())),
        storage,
    }
}

/// A started server; another test may have taken the port meanwhile.
pub(crate) async fn start_dev(folder: &TempDir, storage: DevStorage) -> DevVault {
    for _ in 0..5 {
        match DevVault::start(dev_config(folder, storage.clone())).await {
            Err(Error::Start { problem }) if problem.contains("address already in use") => {}
            started => return started.unwrap(),
        }
    }
    panic!("no free port");
}

fn external() -> Option<AdminVault> {
    let text = |name| env::var_os(name).map(|value| value.into_string().unwrap());
    Some(AdminVault {
        address: text("BERTH_TEST_VAULT_ADDR")?,
        ca_file: text("BERTH_TEST_VAULT_CA").map(PathBuf::from),
        token: text("BERTH_TEST_VAULT_TOKEN")
            .expect("BERTH_TEST_VAULT_TOKEN")
            .into(),
    })
}

fn install_tls() {
    // A second test of the same process finds it installed.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
}

/// Repeats `attempt` until it gives something.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let repeated = async {
        let mut often = tokio::time::interval(Duration::from_millis(50));
        loop {
            often.tick().await;
            if let Some(value) = attempt().await {
                return value;
            }
        }
    };
    tokio::time::timeout(PATIENCE, repeated)
        .await
        .expect("it never happened")
}
