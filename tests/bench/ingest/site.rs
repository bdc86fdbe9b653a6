//! The two that receive: monitoring in a process of its own, and the collector
//! that drops.

use crate::authority::Pki;
use crate::eventually::eventually;
use crate::held::Held;
use crate::postgres::{ADMIN, Postgres};
use berth_monitoring::Config;
use berth_runtime::clients;
use berth_runtime::identity::Identity;
use berth_runtime::platform::{Peers, Platform};
use berth_runtime::tasks::Tasks;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::transport::Channel;

/// The argument with which this program is monitoring.
pub(crate) const SERVE: &str = "serve-monitoring";
/// The database.
pub(crate) const DATABASE: &str = "monitoring";

/// What monitoring shows and whom it trusts, in PEM.
#[derive(Serialize, Deserialize)]
struct Bundle {
    certificate: String,
    key: String,
    services: String,
    placements: String,
}

/// A process that receives. It ends when this is dropped.
pub(crate) struct Receiver {
    process: Child,
    pub(crate) address: SocketAddr,
    _held: [Held; 2],
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) struct Site {
    pub(crate) pki: Pki,
    pub(crate) postgres: Postgres,
    folder: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let mut postgres = Postgres::start().await;
        postgres.stop();
        postgres
            .run(&["shared_buffers=1GB", "max_wal_size=4GB"])
            .await;
        let make = format!("create database {DATABASE}");
        postgres.sql("postgres", &make).await;
        Self {
            pki: Pki::new(),
            postgres,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Monitoring, as `berth serve monitoring` starts it.
    pub(crate) async fn monitoring(&self) -> (Receiver, Channel) {
        let (main, machines) = (Held::new(), Held::new());
        let issued = self
            .pki
            .services
            .issue("berth://service/monitoring", &["monitoring", "localhost"]);
        let bundle = Bundle {
            certificate: issued.certificate,
            key: issued.key,
            services: self.pki.services.pem(),
            placements: self.pki.placements.pem(),
        };
        let config = json!({
            "listen": main.address(),
            "otlp_listen": machines.address(),
            "database": { "url": self.postgres.url(ADMIN, DATABASE) },
        });
        let folder = self.folder.path();
        fs::write(folder.join("bundle"), json!(bundle).to_string()).unwrap();
        fs::write(folder.join("config"), config.to_string()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(SERVE).arg(folder);
        let (services, address) = (main.address(), machines.address());
        let receiver = self.receiver(command, address, [main, machines]).await;
        let identity = self.pki.identity("provisioning");
        let channel = clients::channel("monitoring", &services.to_string(), &identity);
        (receiver, channel)
    }

    /// The collector, which drops what it receives.
    pub(crate) async fn rotel(&self) -> Receiver {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = target.with_file_name("rotel").join("rotel/rotel-agent");
        let (grpc, http) = (Held::new(), Held::new());
        let mut command = Command::new(program);
        command.arg("start");
        command.args(["--exporter", "blackhole"]);
        command.arg("--otlp-grpc-endpoint");
        command.arg(grpc.address().to_string());
        command.arg("--otlp-http-endpoint");
        command.arg(http.address().to_string());
        let address = grpc.address();
        self.receiver(command, address, [grpc, http]).await
    }

    async fn receiver(
        &self,
        mut command: Command,
        address: SocketAddr,
        held: [Held; 2],
    ) -> Receiver {
        let log = self.folder.path().join("log");
        command
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&log).unwrap());
        let mut receiver = Receiver {
            process: command.spawn().unwrap(),
            address,
            _held: held,
        };
        eventually("it listens", async || {
            let ended = receiver.process.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap());
            TcpStream::connect(address).await.ok()
        })
        .await;
        receiver
    }
}

impl Receiver {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Is monitoring, until it is killed.
pub(crate) async fn serve(folder: &Path) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let config: Config = serde_json::from_str(&read("config")).unwrap();
    let bundle: Bundle = serde_json::from_str(&read("bundle")).unwrap();
    let identity = Identity::pending();
    identity
        .replace(&berth_runtime::identity::Bundle {
            certificate_pem: bundle.certificate,
            private_key_pem: bundle.key.into(),
            services_ca_pem: bundle.services,
            placements_ca_pem: bundle.placements,
            not_after: berth_core::now() + chrono::TimeDelta::days(1),
        })
        .unwrap();
    let platform = Platform {
        identity,
        peers: Peers {
            inventory: String::new(),
            leasing: String::new(),
            provisioning: String::new(),
            monitoring: String::new(),
            signer: String::new(),
        },
    };
    let mut tasks = Tasks::new();
    berth_monitoring::start(&config, &platform, &mut tasks)
        .await
        .unwrap();
    tasks.run().await.unwrap();
}
