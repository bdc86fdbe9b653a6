//! Channels to other services: mTLS with this process's current certificate,
//! the other side verified by its role, not by its address.

use crate::auth::ACCOUNT_HEADER;
use crate::identity::Identity;
use berth_core::AccountId;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer that is not a stream.
pub const CALL: Duration = Duration::from_secs(20);

/// A channel to the service `role` at `addresses` (`host:port`, several with a
/// comma between). It connects when it is used, to the next that answers, and
/// again when the connection is lost.
#[must_use]
pub fn channel(role: &str, addresses: &str, identity: &Identity) -> Channel {
    let identity = identity.clone();
    let role = role.to_owned();
    let addresses: Arc<[String]> = addresses
        .split(',')
        .map(|one| one.trim().to_owned())
        .collect();
    let turn = Arc::new(AtomicUsize::new(0));
    // The address is dialled by the connector; the URI only names the role.
    let endpoint = Endpoint::from(Uri::from_static("http://berth.internal"))
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (identity, role, addresses) = (identity.clone(), role.clone(), addresses.clone());
        let first = turn.fetch_add(1, Ordering::Relaxed);
        async move {
            let config = identity
                .client()
                .ok_or_else(|| io::Error::other("no certificate yet"))?;
            let name = ServerName::try_from(role).map_err(io::Error::other)?;
            let stream = dial(&addresses, first).await?;
            stream.set_nodelay(true)?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    }))
}

/// The first of the addresses that answers, beginning with another each time.
async fn dial(addresses: &[String], first: usize) -> io::Result<TcpStream> {
    let mut problem = io::Error::other("no address");
    for number in 0..addresses.len() {
        let Some(address) = addresses.get((first + number) % addresses.len()) else {
            continue;
        };
        match tokio::time::timeout(CONNECT / 2, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => problem = error,
            Err(_) => problem = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(problem)
}

/// A request for an account, with a deadline.
#[must_use]
pub fn request_for<T>(account: AccountId, message: T) -> Request<T> {
    let mut request = request(message);
    if let Ok(value) = AsciiMetadataValue::try_from(account.to_string()) {
        request.metadata_mut().insert(ACCOUNT_HEADER, value);
    }
    request
}

/// A request of the service itself, with a deadline.
#[must_use]
pub fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    crate::telemetry::inject(request.metadata_mut());
    request
}
