//! The listener of a service: TLS, who may call what, health, reflection,
//! limits, and an end within seconds.

use crate::auth::AuthLayer;
use crate::connection::{Connection, Seats};
use crate::handshakes::Handshakes;
use crate::identity::{Identity, Trust};
use crate::telemetry::RpcLayer;
use berth_core::{Error, Result};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open calls get once the end has begun.
const GRACE: Duration = Duration::from_secs(5);
/// Most connections that wait for the server to take them.
const READY: usize = 512;
/// Largest message that a service takes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Binds an address.
///
/// # Errors
///
/// [`Error::Unavailable`] naming the address that cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::unavailable(format!("cannot listen on {address}: {error}")))
}

/// The routes that every service has besides its own: health and reflection.
///
/// # Errors
///
/// [`Error::Internal`] when the descriptors cannot be read.
pub fn routes() -> Result<Routes> {
    let (_, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(berth_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(Error::internal)?;
    Ok(Routes::new(health).add_service(reflection))
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// HTTP/2.
    Two,
    /// HTTP/2 and HTTP/1.1.
    Both,
}

/// Serves until `stop`. Callers are checked by [`AuthLayer`] unless the
/// listener is public.
pub async fn serve(
    listener: TcpListener,
    identity: Identity,
    trust: Trust,
    routes: Routes,
    stop: CancellationToken,
) {
    listen(listener, (identity, trust), Speaks::Two, routes, stop).await;
}

/// The same for a listener whose clients may speak HTTP/1.1.
pub async fn serve_http(
    listener: TcpListener,
    identity: Identity,
    trust: Trust,
    routes: Routes,
    stop: CancellationToken,
) {
    listen(listener, (identity, trust), Speaks::Both, routes, stop).await;
}

async fn listen(
    listener: TcpListener,
    (identity, trust): (Identity, Trust),
    speaks: Speaks,
    routes: Routes,
    stop: CancellationToken,
) {
    let (sender, receiver) = mpsc::channel(READY);
    let config = move || {
        let mut config = identity.server(trust)?;
        if speaks == Speaks::Both {
            let protocols = &mut Arc::make_mut(&mut config).alpn_protocols;
            protocols.push(b"http/1.1".to_vec());
        }
        Some(config)
    };
    let accept = accept(listener, config, sender, stop.clone());
    let mut builder = Server::builder()
        .accept_http1(speaks == Speaks::Both)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .concurrency_limit_per_connection(256)
        .layer(RpcLayer);
    let incoming = ReceiverStream::new(receiver);
    let end = stop.clone().cancelled_owned();
    let served = async {
        let result = if trust == Trust::Public {
            builder
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, end)
                .await
        } else {
            builder
                .layer(AuthLayer)
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, end)
                .await
        };
        if let Err(error) = result {
            tracing::error!(error = berth_core::report(&error), "listener failed");
        }
    };
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(accept, served) } => {}
        () = deadline => tracing::debug!("calls were still open; closing them"),
    }
}

type Accepted = std::io::Result<Connection>;

async fn accept(
    listener: TcpListener,
    config: impl Fn() -> Option<Arc<ServerConfig>>,
    sender: mpsc::Sender<Accepted>,
    stop: CancellationToken,
) {
    let mut handshakes = Handshakes::default();
    let seats = Seats::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            () = handshakes.ended() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, most likely: wait for some to close.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(config) = config() else {
            continue;
        };
        let (sender, seats) = (sender.clone(), seats.clone());
        handshakes.begin(peer.ip(), async move {
            // Without it a small answer waits 40 ms for an acknowledgement.
            stream.set_nodelay(true).ok();
            let handshake = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => match Connection::new(stream, &seats) {
                    Some(connection) => {
                        sender.send(Ok(connection)).await.ok();
                    }
                    None => tracing::debug!(%peer, "too many connections of one machine"),
                },
                Ok(Err(error)) => tracing::debug!(%peer, %error, "handshake refused"),
                Err(_) => tracing::debug!(%peer, "handshake took too long"),
            }
        });
    }
}
