//! Fake machines, all in one process: each has an address of its own on the
//! loopback interface, a host key of its own, an SSH server that lets everybody
//! in, and a Docker that says that two containers stand there and run. They
//! keep what they are told nowhere.

use berth_provisioner::spec::{LABEL_COMPONENT, LABEL_FENCE};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, Error};
use serde_json::{Value, json};
use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How many there are.
pub(crate) const MACHINES: u16 = 5000;
/// Whose value is their port, and that says that this is their process.
const PORT: &str = "BERTH_BENCH_FLEET";
/// Longest request that their Docker reads.
const MAX_REQUEST: usize = 8 << 10;

/// The process of the machines; they lose power when it is dropped.
pub(crate) struct Machines {
    process: Child,
    port: u16,
}

impl Machines {
    /// Starts them on a port, or on any if it is 0, and waits until all listen.
    pub(crate) fn start(port: u16) -> Self {
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(env::current_exe().unwrap())
            .env(PORT, port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = process.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the machines listen");
        Self { process, port }
    }

    /// Their port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Their process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Where a machine listens.
pub(crate) fn address(machine: u16, port: u16) -> SocketAddr {
    let [high, low] = machine.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 77, high, low), port))
}

/// What a machine shows.
pub(crate) fn host_key(machine: u16) -> PrivateKey {
    let mut seed = [77; 32];
    seed[..2].copy_from_slice(&machine.to_be_bytes());
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

/// Whether this is the process of the machines.
pub(crate) fn asked() -> bool {
    env::var_os(PORT).is_some()
}

/// What that process does.
pub(crate) fn main() {
    let port = env::var_os(PORT).and_then(|port| port.into_string().ok());
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let first = TcpListener::bind(address(0, port)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut machines = JoinSet::new();
        machines.spawn(machine(0, first));
        for number in 1..MACHINES {
            let listener = TcpListener::bind(address(number, port)).await.unwrap();
            machines.spawn(machine(number, listener));
        }
        println!("{port}");
        machines.join_next().await.unwrap().unwrap();
    });
}

async fn machine(number: u16, listener: TcpListener) {
    let config = Arc::new(Config {
        keys: vec![host_key(number)],
        nodelay: true,
        ..Config::default()
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // Whoever went away again is forgotten.
        run_stream(Arc::clone(&config), stream, Host::default())
            .await
            .ok();
    }
}

/// One connection.
#[derive(Default)]
struct Host {
    docker: JoinSet<()>,
}

impl Handler for Host {
    type Error = Error;

    async fn auth_publickey(
        &mut self,
        _user: &str,
        _key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        Ok(Auth::Accept)
    }

    async fn auth_openssh_certificate(
        &mut self,
        _user: &str,
        _certificate: &russh::keys::Certificate,
    ) -> Result<Auth, Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        reply.accept().await;
        Ok(())
    }

    /// Every command succeeds and prints nothing.
    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_success(channel)?;
        session.exit_status_request(channel, 0)?;
        session.eof(channel)?;
        session.close(channel)
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        while self.docker.try_join_next().is_some() {}
        reply.accept().await;
        self.docker.spawn(docker(channel));
        Ok(())
    }
}

/// One connection to Docker: requests without a body, until it is closed.
async fn docker(channel: Channel<Msg>) {
    let mut stream = channel.into_stream();
    let mut read = Vec::new();
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) if read.len() > MAX_REQUEST => return,
                Ok(_) => continue,
            }
        };
        let head: Vec<u8> = read.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head);
        let body = answer(head.split(' ').nth(1).unwrap_or_default()).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(path: &str) -> Value {
    let path = path.split('?').next().unwrap_or_default();
    if path == "/version" {
        json!({ "Version": "20.10.24", "ApiVersion": "1.41" })
    } else if path.ends_with("/containers/json") {
        json!([{ "Id": "node" }, { "Id": "agent" }])
    } else if let Some((_, rest)) = path.split_once("/containers/") {
        let name = rest.trim_end_matches("/json");
        json!({
            "Id": name,
            "Name": format!("/{name}"),
            "State": { "Status": "running", "Running": true },
            "Config": { "Labels": { LABEL_FENCE: "1", LABEL_COMPONENT: name } },
        })
    } else if path.ends_with("/volumes") {
        json!({ "Volumes": [] })
    } else {
        json!([])
    }
}
