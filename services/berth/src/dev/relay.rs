//! From the user's loopback address to the gateway inside the machines'
//! network: bytes only; the TLS is between the client and the gateway.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most connections at once.
const MAX: usize = 512;

/// Relays until `stop`. Each connection goes to the next gateway that answers.
pub(super) async fn run(listener: TcpListener, gateways: Vec<SocketAddr>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(), if connections.len() < MAX => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                turn += 1;
                let mut order = gateways.clone();
                order.rotate_left(turn % gateways.len().max(1));
                connections.spawn(relay(stream, order));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn relay(mut client: TcpStream, gateways: Vec<SocketAddr>) {
    for gateway in gateways {
        if let Ok(mut server) = TcpStream::connect(gateway).await {
            client.set_nodelay(true).ok();
            server.set_nodelay(true).ok();
            // Either side may end at any time.
            copy_bidirectional(&mut client, &mut server).await.ok();
            return;
        }
    }
}
