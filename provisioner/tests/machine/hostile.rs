//! A hostile machine. It is an SSH server of the test's own, and the only one:
//! sshd opens no channel that it was not asked for, however it is configured.

use crate::harness::Authority;
use berth_provisioner::{Machines, PoolConfig, Target};
use russh::Error;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Certificate, PrivateKey};
use russh::server::{Auth, Config, Handle, Handler, run_stream};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Lets everybody in.
struct Host;

impl Handler for Host {
    type Error = Error;

    async fn auth_openssh_certificate(
        &mut self,
        _user: &str,
        _certificate: &Certificate,
    ) -> Result<Auth, Error> {
        Ok(Auth::Accept)
    }
}

/// The next connection, as the server holds it.
async fn accept(listener: &TcpListener, key: PrivateKey) -> Handle {
    let (stream, _) = listener.accept().await.unwrap();
    let config = Config {
        keys: vec![key],
        ..Config::default()
    };
    let session = run_stream(Arc::new(config), stream, Host).await;
    session.unwrap().handle()
}

#[tokio::test]
async fn a_machine_opens_no_channel_for_which_nobody_asked() {
    let dir = tempfile::tempdir().unwrap();
    let machines = Machines::new(PoolConfig::default(), Arc::new(Authority::new(dir.path())));
    let machines = machines.unwrap();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target {
        machine_id: "machine-1".to_owned(),
        address: listener.local_addr().unwrap().to_string(),
        user: "berth".to_owned(),
        host_key: key.public_key().to_openssh().unwrap().parse().unwrap(),
    };
    let (machine, session) = tokio::join!(accept(&listener, key), machines.session(&target));
    let session = session.unwrap();

    let here = "127.0.0.1";
    let port = machine.channel_open_forwarded_tcpip(here, 5000, here, 1);
    let socket = machine.channel_open_forwarded_streamlocal("/run/docker.sock");
    let dialled = machine.channel_open_direct_tcpip(here, 5432, here, 1);
    let dialled_socket = machine.channel_open_direct_streamlocal("/run/docker.sock");
    for (what, answer) in [
        ("a port of the machine's", port.await),
        ("a socket of the machine's", socket.await),
        ("a port of ours", dialled.await),
        ("a socket of ours", dialled_socket.await),
        ("a shell", machine.channel_open_session().await),
        ("our keys", machine.channel_open_agent().await),
        ("our screen", machine.channel_open_x11(here, 1).await),
    ] {
        let answer = answer.map(|_| "it was opened");
        assert!(
            matches!(answer, Err(Error::ChannelOpenFailure(_))),
            "{what}: {answer:?}"
        );
    }
    // Asking is no reason to end the session.
    assert!(!session.is_lost());
}
