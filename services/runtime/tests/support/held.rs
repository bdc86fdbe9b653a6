//! An address that stays a test's own while nobody listens there: a free port
//! that is only found may be another test's the next moment. Shared by the tests
//! of several crates with `#[path]`.

use std::net::SocketAddr;
use tokio::net::TcpSocket;

/// A bound socket that never listens. The system gives its port to nobody, and
/// lets those listen who name it, one after the other.
#[derive(Debug)]
pub(crate) struct Held(TcpSocket);

impl Held {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}
