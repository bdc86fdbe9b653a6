//! Leases that come together and want the same are given their machines together:
//! they share one search and one commit.

use crate::store::reservations::{self, Cheapest, Reservation};
use berth_core::{Error, LeaseId, Result, report};
use berth_runtime::lanes::{self, Batches, Lanes};
use sqlx::PgPool;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// Most leases of a statement.
const MAX_LEASES: usize = 64;
/// Longest wait for a batch, after which its outcome is unknown. Longer than a
/// statement may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A lease that wants a machine.
#[derive(Debug)]
struct Wanting {
    lease: LeaseId,
    wish: Cheapest,
}

type Asked = lanes::Asked<Wanting, Reservation>;

/// Gives machines to leases; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reservations(Lanes<Wanting, Reservation>);

impl Reservations {
    /// Reservations, and their task, which ends after the last of them.
    pub(crate) fn new(db: PgPool) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (lanes, task) = lanes::lanes(Leases(db));
        (Self(lanes), task)
    }

    /// Reserves the cheapest machine that fits; a lease that has one gets the same
    /// again. What is answered is committed.
    ///
    /// # Errors
    ///
    /// Those of [`reservations::reserve_cheapest`], and [`Error::Unavailable`] when
    /// too many wait or the outcome is not known.
    pub(crate) async fn reserve(&self, lease: LeaseId, wish: &Cheapest) -> Result<Reservation> {
        let wish = wish.clone();
        let full = || Error::unavailable("too many leases wait for a machine");
        self.0
            .ask(Wanting { lease, wish }, Duration::ZERO, full)
            .await
    }
}

struct Leases(PgPool);

impl Batches for Leases {
    type Ask = Wanting;
    type Answer = Reservation;
    /// Two statements for one wish would only pass over each other's machines.
    type Key = Cheapest;

    const LANES: usize = 4;
    const ROOM: usize = 2048;

    /// The first whose wish nobody is granted now, and all who want the same. A
    /// lease that asked more than once has its later turn, and finds what it got.
    fn next(&self, waiting: &mut Vec<Asked>, busy: &mut HashSet<Cheapest>) -> Vec<Asked> {
        let first = waiting.iter().find(|one| !busy.contains(&one.what.wish));
        let Some(wish) = first.map(|first| first.what.wish.clone()) else {
            return Vec::new();
        };
        let mut leases = BTreeSet::new();
        let same = |one: &mut Asked| {
            leases.len() < MAX_LEASES && one.what.wish == wish && leases.insert(one.what.lease)
        };
        let batch = waiting.extract_if(.., same).collect();
        busy.insert(wish);
        batch
    }

    fn serve(&self, batch: Vec<Asked>) -> impl Future<Output = Vec<Cheapest>> + Send + 'static {
        answer(self.0.clone(), batch)
    }
}

/// Reserves for a batch and answers it. Returns its wish.
async fn answer(db: PgPool, batch: Vec<Asked>) -> Vec<Cheapest> {
    let Some(wish) = batch.first().map(|first| first.what.wish.clone()) else {
        return Vec::new();
    };
    let leases: Vec<LeaseId> = batch.iter().map(|one| one.what.lease).collect();
    let reserving = reservations::reserve_cheapest(&db, &leases, &wish);
    let answers = match tokio::time::timeout(PATIENCE, reserving).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => failed(error, leases.len()),
        Err(elapsed) => failed(Error::unavailable(elapsed), leases.len()),
    };
    for (one, answer) in batch.into_iter().zip(answers) {
        one.answer(answer);
    }
    vec![wish]
}

/// The first is told the error itself, so that it is logged once.
fn failed(error: Error, leases: usize) -> Vec<Result<Reservation>> {
    let why = report(&error);
    let others = (1..leases).map(|_| Err(Error::unavailable(why.clone())));
    std::iter::once(Err(error)).chain(others).collect()
}
