//! The executable, and those who call it.

use crate::eventually::eventually;
use crate::postgres::{DATABASE, OWNER, Postgres, SERVING};
use crate::vault::Server;
use berth_runtime::clients;
use berth_runtime::identity::{Bundle, Identity};
use berth_secrets::{SignerPath, Vault};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use std::cell::Cell;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

/// The node of the machine that calls; its placement has the same number.
pub(crate) const NODE: &str = "node-00000000-0000-7000-8000-000000000001";

/// What signers stand on, and their configuration.
pub(crate) struct Site {
    pub(crate) postgres: Postgres,
    pub(crate) vault: Server,
    folder: TempDir,
    /// Where each replica listens, once it serves.
    replicas: [Rc<Cell<Option<Addresses>>>; 2],
}

/// Where a signer listens.
#[derive(Clone, Copy)]
struct Addresses {
    admin: SocketAddr,
    duty: SocketAddr,
}

impl Addresses {
    /// As a signer says it when it serves.
    fn parse(log: &str) -> Option<Self> {
        let line = log
            .lines()
            .find(|line| line.contains("the signer serves"))?;
        let word = |name: &str| {
            let word = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            word.unwrap().parse().unwrap()
        };
        Some(Self {
            admin: word("listen="),
            duty: word("duty_listen="),
        })
    }
}

impl Site {
    /// A site whose database is empty.
    pub(crate) async fn unprepared() -> Self {
        let (postgres, vault) = tokio::join!(Postgres::start(), Server::start());
        // Delivers the secret id.
        vault.login("signer").await;
        Self {
            postgres,
            vault,
            folder: tempfile::tempdir().unwrap(),
            replicas: Default::default(),
        }
    }

    /// A site where a signer can serve.
    pub(crate) async fn start() -> Self {
        let site = Self::unprepared().await;
        site.migrate();
        site
    }

    /// Prepares the database, as its owner.
    pub(crate) fn migrate(&self) {
        let url = self.postgres.url(OWNER, DATABASE);
        let words = ["migrate", "--database-url", &url, "--grant-to", SERVING];
        let done = signer(&words).output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
    }

    /// The configuration of a signer that serves as `role`.
    pub(crate) fn config(&self, role: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{role}.toml"));
        let config = format!(
            "[telemetry]\nlevel = \"info\"\notlp = false\n\
             [vault]\naddress = \"{}\"\nca_file = {:?}\nsecret_id_dir = {:?}\n\
             [signer]\nlisten = \"127.0.0.1:0\"\nduty_listen = \"127.0.0.1:0\"\n\
             database = {{ url = \"{}\" }}\n",
            self.vault.address(),
            self.vault.ca_file(),
            self.vault.secret_ids(),
            self.postgres.url(role, DATABASE),
        );
        fs::write(&path, config).unwrap();
        path
    }

    /// Starts a signer and waits until it serves.
    pub(crate) async fn serve(&self) -> Running {
        self.serve_replica(0).await
    }

    /// Starts a replica and waits until it serves.
    pub(crate) async fn serve_replica(&self, replica: usize) -> Running {
        self.serving(self.spawn(SERVING, replica, &[]), replica)
            .await
    }

    /// Starts a signer whose clock is off by what the file says, such as `+4h`.
    pub(crate) async fn serve_off(&self, clock: &Path) -> Running {
        let library = "/usr/lib/*/faketime/libfaketime.so.1";
        let found = Command::new("sh")
            .args(["-c", &format!("echo {library}")])
            .output();
        let library = text(&found.unwrap().stdout);
        let environment = [
            ("LD_PRELOAD", library.trim()),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        self.serving(self.spawn(SERVING, 0, &environment), 0).await
    }

    async fn serving(&self, mut running: Running, replica: usize) -> Running {
        let addresses = eventually("the signer serves", async || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", running.log());
            Addresses::parse(&running.log())
        })
        .await;
        self.replicas[replica].set(Some(addresses));
        running
    }

    fn spawn(&self, role: &str, replica: usize, environment: &[(&str, &str)]) -> Running {
        let log = self.folder.path().join(format!("{role}-{replica}.log"));
        let child = signer(&["serve", "--end-with-parent", "--config"])
            .arg(self.config(role))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Running { child, log }
    }

    /// What a signer says that must not start as `role`.
    pub(crate) async fn refused(&self, role: &str) -> String {
        let mut running = self.spawn(role, 0, &[]);
        let ended = running.ended().await;
        assert_eq!(ended.code(), Some(1), "{}", running.log());
        running.log()
    }

    /// A placement's machine, at a replica.
    pub(crate) async fn placement(&self, fence: u64, replica: usize) -> Caller {
        self.placement_of(NODE, fence, replica).await
    }

    /// The machine of another node's placement, at a replica.
    pub(crate) async fn placement_of(&self, node: &str, fence: u64, replica: usize) -> Caller {
        let placement = node.replacen("node", "placement", 1);
        let provisioning = self.vault.login("provisioning").await;
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let chain = provisioning
            .sign_placement_csr(&request.pem().unwrap(), node, &placement, fence)
            .await
            .unwrap();
        let authority = provisioning.services_ca().await.unwrap();
        let identity = (&*chain, &*key.serialize_pem(), &*authority);
        Caller::new(&self.replicas[replica], |found| found.duty, identity)
    }

    /// Another service.
    pub(crate) async fn service(&self, role: &str) -> Caller {
        let vault = self.vault.login(role).await;
        let identity = vault.issue_service_certificate(role).await.unwrap();
        let key = identity.private_key.expose_secret();
        let identity = (&*identity.certificate_chain, key, &*identity.ca);
        Caller::new(&self.replicas[0], |found| found.admin, identity)
    }

    /// Another service's way to the replicas.
    pub(crate) async fn channel(&self, role: &str) -> Channel {
        let vault = self.vault.login(role).await;
        let issued = vault.issue_service_certificate(role).await.unwrap();
        let identity = Identity::pending();
        let bundle = Bundle {
            certificate_pem: issued.certificate_chain,
            private_key_pem: issued.private_key,
            services_ca_pem: issued.ca,
            placements_ca_pem: vault.placements_ca().await.unwrap(),
            not_after: issued.not_after.into(),
        };
        identity.replace(&bundle).unwrap();
        let serving = self.replicas.iter().filter_map(|replica| replica.get());
        let addresses: Vec<_> = serving.map(|found| found.admin.to_string()).collect();
        clients::channel("signer", &addresses.join(","), &identity)
    }

    /// Waits until the health of the first replica says so.
    pub(crate) async fn eventually_says(&self, wanted: &str) {
        let monitoring = self.service("monitoring").await;
        eventually(wanted, async || {
            let health = monitoring.get("/healthcheck").await?;
            health.contains(wanted).then_some(())
        })
        .await;
    }

    /// Waits until a replica holds so many keys.
    pub(crate) async fn holds(&self, replica: usize, keys: usize) {
        let monitoring = Caller {
            replica: Rc::clone(&self.replicas[replica]),
            ..self.service("monitoring").await
        };
        let wanted = format!("signer_keys{{state=\"loaded\"}} {keys}\n");
        eventually(&wanted, async || {
            let metrics = monitoring.get("/metrics").await?;
            metrics.contains(&wanted).then_some(())
        })
        .await;
    }

    /// How far the anchor in Vault has come.
    async fn anchor(&self, vault: &Vault) -> Option<i64> {
        let record = vault.read_record(&SignerPath::anchor()).await.ok()??;
        record.fields["sequence"].parse().ok()
    }

    /// Waits until the anchor in Vault has come so far.
    pub(crate) async fn anchored_at(&self, sequence: i64) {
        let vault = self.vault.login("signer").await;
        eventually("the anchor moves", async || {
            (self.anchor(&vault).await? >= sequence).then_some(())
        })
        .await;
    }
}

/// A signer that was started; it ends with this.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log says so.
    pub(crate) async fn says(&self, wanted: &str) {
        let said = async || self.log().contains(wanted).then_some(());
        eventually(wanted, said).await;
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// What the kernel lets it do.
    pub(crate) fn limits(&self) -> String {
        fs::read_to_string(format!("/proc/{}/limits", self.id())).unwrap()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the signer ends", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The executable with these words.
pub(crate) fn signer(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-signer"));
    command.args(words);
    command
}

/// What a command printed, which must succeed.
#[track_caller]
pub(crate) fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Somebody with a certificate who calls a listener, wherever it is now.
#[derive(Clone)]
pub(crate) struct Caller {
    replica: Rc<Cell<Option<Addresses>>>,
    listener: fn(Addresses) -> SocketAddr,
    connector: TlsConnector,
}

impl Caller {
    /// With certificate and key, and the authority of the other side.
    fn new(
        replica: &Rc<Cell<Option<Addresses>>>,
        listener: fn(Addresses) -> SocketAddr,
        (chain, key, authority): (&str, &str, &str),
    ) -> Self {
        let certificates = |pem: &str| -> Vec<_> {
            let all = CertificateDer::pem_slice_iter(pem.as_bytes());
            all.map(Result::unwrap).collect()
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority) {
            roots.add(certificate).unwrap();
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(chain), key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            replica: Rc::clone(replica),
            listener,
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Everything that is answered; nothing when nobody answers.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        self.connect().await?.ask("GET", path, "").await
    }

    /// The same of a request with a body of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Option<String> {
        self.connect().await?.post(path, body).await
    }

    /// A connection that stays.
    pub(crate) async fn connect(&self) -> Option<Line> {
        let address = (self.listener)(self.replica.get()?);
        let stream = TcpStream::connect(address).await.ok()?;
        let name = ServerName::try_from("signer").unwrap();
        self.connector.connect(name, stream).await.ok().map(Line)
    }
}

/// A connection of HTTP/1.1.
pub(crate) struct Line(pub(crate) TlsStream<TcpStream>);

impl Line {
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Option<String> {
        self.ask("POST", path, &body.to_string()).await
    }

    /// The answer, whole, with its head.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<String> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: signer\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            if self.0.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
        Some(text(&answer))
    }
}

/// Whether an answer has all of its body.
fn is_whole(answer: &[u8]) -> bool {
    let answer = text(answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    body.len() == length.unwrap().parse::<usize>().unwrap()
}
