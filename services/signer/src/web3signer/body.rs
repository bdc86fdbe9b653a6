//! Reading what a machine sends: so long at most, in so much time, and so much
//! of one placement at once.

use crate::domain::Refusal;
use crate::domain::refusal::Reason;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Request};
use berth_core::{Error, PlacementId};
use http_body_util::LengthLimitError;
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Longest body. A block of phase0 or altair stands in it whole.
const LONGEST: usize = 1 << 20;
/// Longest body that is read where everything else goes on; that takes less time
/// than a signature. Of what clients send today all is shorter.
const SMALL: usize = 64 << 10;
/// Longest time for a body to arrive, and before it for its turn to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// In what the room of a placement is counted.
const UNIT: usize = 4 << 10;
/// Room of one placement: 16 MiB of bodies, or 4096 requests under way.
const ROOM: usize = 4096;
/// Placements that are remembered before those at rest are first forgotten.
const FIRST_SWEEP: usize = 256;

/// The room that each placement has here.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<HashMap<PlacementId, Weak<Semaphore>>>);

/// The part of it that a request takes until it is answered.
#[derive(Debug)]
pub(super) struct Room(
    #[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
);

/// Where longer bodies are read: beside everything else, one after the other, so
/// that whoever sends many of them takes one core at most.
#[derive(Debug)]
pub(super) struct Desk(Arc<Semaphore>);

impl Default for Desk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Desk {
    /// What `read` makes of a body.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        body: Bytes,
        read: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Error> {
        if body.len() <= SMALL {
            return Ok(read(&body));
        }
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(Error::internal)?;
        let reading = spawn_blocking(move || {
            // It reads on though whoever asked is gone, and so keeps its turn.
            let _turn = turn;
            read(&body)
        });
        reading.await.map_err(Error::internal)
    }
}

impl Rooms {
    /// The body of a request, and the room that it takes. Requests of one
    /// placement wait for each other, and for those of no other.
    pub(super) async fn read(
        &self,
        placement: PlacementId,
        request: Request<Body>,
    ) -> Result<(Bytes, Room), Refusal> {
        let length = declared(request.headers()).unwrap_or(LONGEST);
        if length > LONGEST {
            return Err(too_large());
        }
        let units = u32::try_from(length.div_ceil(UNIT).max(1)).map_err(|_| too_large())?;
        let turn = self.of(placement).acquire_many_owned(units);
        let turn = timeout(PATIENCE, turn).await;
        let room = turn.ok().and_then(Result::ok).map(Room).ok_or_else(|| {
            let detail = "too many requests of this placement at once";
            Refusal::new(Reason::RateLimited, detail)
        })?;
        let body = timeout(PATIENCE, to_bytes(request.into_body(), LONGEST)).await;
        let body = body.map_err(|_| {
            let detail = format!("the body took longer than {} s", PATIENCE.as_secs());
            Refusal::new(Reason::BodyTooSlow, detail)
        })?;
        let body = body.map_err(|error| {
            let long = |cause: &(dyn std::error::Error + 'static)| cause.is::<LengthLimitError>();
            if error.source().is_some_and(long) {
                too_large()
            } else {
                Refusal::new(Reason::Malformed, "the body ended early")
            }
        })?;
        Ok((body, room))
    }

    fn of(&self, placement: PlacementId) -> Arc<Semaphore> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(&placement).and_then(Weak::upgrade) {
            return room;
        }
        // No more of them are in use than there are connections.
        if rooms.len() >= FIRST_SWEEP {
            rooms.retain(|_, room| room.strong_count() > 0);
        }
        let room = Arc::new(Semaphore::new(ROOM));
        rooms.insert(placement, Arc::downgrade(&room));
        room
    }
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Refusal {
    let detail = format!("a body has at most {LONGEST} bytes");
    Refusal::new(Reason::BodyTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[tokio::test]
    async fn a_long_body_is_read_beside_everything_else_and_a_short_one_at_once() {
        let desk = Desk::default();
        for (length, here) in [(0, true), (SMALL, true), (SMALL + 1, false)] {
            let thread = |_: &[u8]| thread::current().id();
            let read = desk.read(vec![0; length].into(), thread).await;
            assert_eq!(read.unwrap() == thread::current().id(), here, "{length}");
        }
    }

    #[tokio::test]
    async fn while_long_bodies_are_read_one_by_one_short_ones_are_not_held_up() {
        let desk = Desk::default();
        let (go_on, wait) = mpsc::channel();
        let slow = move |_: &[u8]| wait.recv().unwrap();
        let long = || Bytes::from(vec![0; LONGEST]);
        let others = async {
            let short = desk.read(Bytes::new(), <[u8]>::len).await;
            assert_eq!(short.unwrap(), 0);
            let next = timeout(Duration::ZERO, desk.read(long(), <[u8]>::len)).await;
            assert!(next.is_err());
            go_on.send(()).unwrap();
        };
        let (slow, ()) = tokio::join!(desk.read(long(), slow), others);
        slow.unwrap();
        assert_eq!(desk.read(long(), <[u8]>::len).await.unwrap(), LONGEST);
    }
}
