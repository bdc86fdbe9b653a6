//! A connection after its handshake. Those of one placement are counted, so that
//! no machine takes the room of the others, nor of its successor.

use crate::auth::Peer;
use berth_core::PlacementId;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

/// Most connections of one placement to one listener. Its agent needs one.
const MOST: usize = 64;

/// How many connections each placement has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<HashMap<PlacementId, usize>>>);

impl Seats {
    fn take(&self, placement: PlacementId) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(placement).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Seat {
            seats: self.clone(),
            placement,
        })
    }
}

/// One of them, given back when dropped.
#[derive(Debug)]
struct Seat {
    seats: Seats,
    placement: PlacementId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.placement) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.placement);
            }
        }
    }
}

/// A connection, and the seat of its placement while it is open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    _seat: Option<Seat>,
}

impl Connection {
    /// `None` when its placement has too many already.
    pub(crate) fn new(stream: TlsStream<TcpStream>, seats: &Seats) -> Option<Self> {
        let certificates = stream.get_ref().1.peer_certificates();
        let leaf = certificates.and_then(|chain| chain.first());
        let seat = match leaf.and_then(|leaf| Peer::from_certificate(leaf)) {
            Some(Peer::Placement { placement_id, .. }) => Some(seats.take(placement_id)?),
            Some(Peer::Service(_)) | None => None,
        };
        Some(Self {
            stream,
            _seat: seat,
        })
    }
}

impl Connected for Connection {
    type ConnectInfo = TlsConnectInfo<TcpConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_has_so_many_connections_and_gets_a_seat_back_when_one_ends() {
        let (seats, placement) = (Seats::default(), PlacementId::generate());
        let mut taken: Vec<_> = (0..MOST).map(|_| seats.take(placement).unwrap()).collect();
        assert!(seats.take(placement).is_none());
        assert!(seats.take(PlacementId::generate()).is_some());
        taken.pop();
        assert!(seats.take(placement).is_some());
        taken.clear();
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
