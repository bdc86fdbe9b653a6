//! Connections on which nobody says anything.

use crate::authority::Pki;
use crate::callers::Listener;
use berth_runtime::identity::Trust;
use futures::{StreamExt as _, stream};
use rustls::pki_types::ServerName;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// More than are in their handshake at once.
const SILENT: usize = 600;
/// A guard: sooner than the first of them has been silent for too long, and far
/// later than a handshake needs.
const WITHIN: Duration = Duration::from_secs(9);

/// A connection from a loopback address.
async fn dial(from: Ipv4Addr, listener: &Listener) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(listener.address).await.unwrap()
}

#[tokio::test]
async fn who_opens_connections_and_says_nothing_keeps_no_other_out() {
    let pki = Pki::new();
    let listener = Listener::start(&pki.identity("monitoring"), Trust::Services).await;
    let hostile = Ipv4Addr::new(127, 0, 0, 9);
    let silent: Vec<_> = stream::iter(0..SILENT)
        .map(|_| dial(hostile, &listener))
        .buffer_unordered(64)
        .collect()
        .await;
    let caller = TlsConnector::from(pki.identity("gateway").client().unwrap());
    // Nor those behind the same address.
    for from in [Ipv4Addr::new(127, 0, 0, 2), hostile] {
        let handshake = async {
            let name = ServerName::try_from("monitoring").unwrap();
            let stream = dial(from, &listener).await;
            caller.connect(name, stream).await.unwrap()
        };
        tokio::time::timeout(WITHIN, handshake).await.unwrap();
    }
    assert_eq!(silent.len(), SILENT);
}
