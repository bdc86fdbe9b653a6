//! Leases that come together and want the same are given their machines together.
//!
//! A lone lease is served at once. Those that come while others are being served
//! wait for their turn, and share one search and one commit with all who want
//! the same. No timer waits for more.

use crate::store::reservations::{self, Cheapest, Reservation};
use berth_core::{Error, LeaseId, Result, report};
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Statements under way at once. Two would only pass over each other's machines.
const LANES: usize = 1;
/// Most leases of a statement.
const MAX_LEASES: usize = 64;
/// Most leases that wait.
const MAX_WAITING: usize = 4096;

/// Gives machines to leases; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reservations {
    db: PgPool,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    lanes: Arc<Semaphore>,
}

#[derive(Debug)]
struct Waiting {
    lease: LeaseId,
    wish: Cheapest,
    answer: oneshot::Sender<Result<Reservation>>,
}

impl Reservations {
    pub(crate) fn new(db: PgPool) -> Self {
        Self {
            db,
            waiting: Arc::default(),
            lanes: Arc::new(Semaphore::new(LANES)),
        }
    }

    /// Reserves the cheapest machine that fits; a lease that has one gets the same
    /// again. What is answered is committed.
    ///
    /// # Errors
    ///
    /// Those of [`reservations::reserve_cheapest`], and [`Error::Unavailable`] when
    /// too many wait.
    pub(crate) async fn reserve(&self, lease: LeaseId, wish: &Cheapest) -> Result<Reservation> {
        let mut answered = self.wait(lease, wish)?;
        loop {
            tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(answer) => return answer,
                    // Who served it was called off: it asks again, and finds what it got.
                    Err(_) => answered = self.wait(lease, wish)?,
                },
                lane = self.lanes.acquire() => {
                    let lane = lane.map_err(Error::unavailable)?;
                    // Maybe others came first on another thread: its turn is still to come.
                    let batch = next(&mut self.waiting());
                    serve(&self.db, batch).await;
                    drop(lane);
                }
            }
        }
    }

    fn wait(
        &self,
        lease: LeaseId,
        wish: &Cheapest,
    ) -> Result<oneshot::Receiver<Result<Reservation>>> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_WAITING {
            return Err(Error::unavailable("too many leases wait for a machine"));
        }
        waiting.push(Waiting {
            lease,
            wish: wish.clone(),
            answer,
        });
        Ok(answered)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the first that waits, and all who want the same. A lease that asked more
/// than once has its later turn, and finds what it got.
fn next(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    // Who asked may be gone: nobody would give that machine back.
    waiting.retain(|one| !one.answer.is_closed());
    let Some(wish) = waiting.first().map(|first| first.wish.clone()) else {
        return Vec::new();
    };
    let mut leases = BTreeSet::new();
    let same = |one: &mut Waiting| {
        leases.len() < MAX_LEASES && one.wish == wish && leases.insert(one.lease)
    };
    waiting.extract_if(.., same).collect()
}

/// Reserves for a batch and answers it.
async fn serve(db: &PgPool, batch: Vec<Waiting>) {
    let Some(wish) = batch.first().map(|first| first.wish.clone()) else {
        return;
    };
    let leases: Vec<LeaseId> = batch.iter().map(|one| one.lease).collect();
    let answers = match reservations::reserve_cheapest(db, &leases, &wish).await {
        Ok(answers) => answers,
        Err(error) => {
            let why = report(&error);
            let others = leases.iter().skip(1);
            let others = others.map(|_| Err(Error::unavailable(why.clone())));
            std::iter::once(Err(error)).chain(others).collect()
        }
    };
    for (one, answer) in batch.into_iter().zip(answers) {
        // Whoever asked may be gone.
        one.answer.send(answer).ok();
    }
}
