//! Exports that come together are stored together, in one transaction.
//!
//! The exports of a node follow one another, whichever replica they reach, and
//! its fence cannot move meanwhile.

use super::Point;
use crate::domain::Speaker;
use crate::store::exports::{self, LeftOut, Sent};
use crate::store::targets::Locked;
use berth_core::{Error, NodeId, Result, report};
use berth_runtime::lanes::{self, Batches, Lanes};
use sqlx::PgPool;
use std::collections::HashSet;
use std::time::Duration;

/// Most exports of a transaction.
const MAX_EXPORTS: usize = 256;
/// Most points of a transaction, unless one export has more.
const MAX_POINTS: usize = 10_000;
/// Longest wait for room.
const ROOM: Duration = Duration::from_secs(5);
/// Longest wait for a transaction, after which its outcome is unknown. Longer than
/// a statement may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Asked = lanes::Asked<Sent, Vec<LeftOut>>;

/// Hands exports to the task that stores them.
#[derive(Debug, Clone)]
pub(super) struct Keeper(Lanes<Sent, Vec<LeftOut>>);

impl Keeper {
    /// A keeper, and its task, which ends after the last keeper.
    pub(super) fn new(db: PgPool) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (lanes, task) = lanes::lanes(Exports(db));
        (Self(lanes), task)
    }

    /// Stores the points of one export; returns the series that find no room.
    /// What is answered is committed.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when another placement is the current one,
    /// [`Error::Unavailable`] when the outcome is not known.
    pub(super) async fn keep(&self, speaker: Speaker, points: Vec<Point>) -> Result<Vec<LeftOut>> {
        let full = || Error::unavailable("too many exports wait; send it again");
        self.0.ask(Sent { speaker, points }, ROOM, full).await
    }
}

struct Exports(PgPool);

impl Batches for Exports {
    type Ask = Sent;
    type Answer = Vec<LeftOut>;
    type Key = NodeId;

    const LANES: usize = 2;
    const ROOM: usize = 1024;

    /// The first exports whose nodes are in no transaction.
    fn next(&self, waiting: &mut Vec<Asked>, busy: &mut HashSet<NodeId>) -> Vec<Asked> {
        let (mut exports, mut points) = (0, 0);
        // Their later exports wait, too.
        let mut passed = HashSet::new();
        waiting
            .extract_if(.., |one| {
                let node = one.what.speaker.node_id;
                let more = points + one.what.points.len();
                let fits = exports == 0 || (exports < MAX_EXPORTS && more <= MAX_POINTS);
                let take = fits && !passed.contains(&node) && busy.insert(node);
                if take {
                    (exports, points) = (exports + 1, more);
                } else {
                    passed.insert(node);
                }
                take
            })
            .collect()
    }

    fn serve(&self, batch: Vec<Asked>) -> impl Future<Output = Vec<NodeId>> + Send + 'static {
        answer(self.0.clone(), batch)
    }
}

/// Stores a batch and answers it. Returns its nodes.
async fn answer(db: PgPool, batch: Vec<Asked>) -> Vec<NodeId> {
    let nodes = batch.iter().map(|one| one.what.speaker.node_id).collect();
    // Those whose targets somebody has locked hold nobody else up.
    let late = together(&db, batch, Locked::PassOver).await;
    together(&db, late, Locked::Wait).await;
    nodes
}

/// Stores exports and answers them, all but those that were passed over.
async fn together(db: &PgPool, batch: Vec<Asked>, locked: Locked) -> Vec<Asked> {
    if batch.is_empty() {
        return batch;
    }
    let sent: Vec<_> = batch.iter().map(|one| &one.what).collect();
    let verdicts = match in_time(db, &sent, locked).await {
        Ok(verdicts) => verdicts,
        // One of them is at fault, and none shall answer for another.
        Err(Error::Internal(_)) if batch.len() > 1 => {
            for one in batch {
                let verdict = alone(db, &one.what).await;
                one.answer(verdict);
            }
            return Vec::new();
        }
        Err(Error::Internal(source)) => vec![Some(Err(Error::Internal(source)))],
        Err(error) => {
            let why = report(&error);
            let failed = |_| Some(Err(Error::unavailable(why.clone())));
            batch.iter().map(failed).collect()
        }
    };
    let mut late = Vec::new();
    for (one, verdict) in batch.into_iter().zip(verdicts) {
        match verdict {
            Some(verdict) => one.answer(verdict),
            None => late.push(one),
        }
    }
    late
}

async fn alone(db: &PgPool, sent: &Sent) -> Result<Vec<LeftOut>> {
    let mut verdicts = in_time(db, &[sent], Locked::Wait).await?;
    verdicts.pop().flatten().unwrap_or_else(|| Ok(Vec::new()))
}

async fn in_time(db: &PgPool, sent: &[&Sent], locked: Locked) -> Result<Vec<exports::Verdict>> {
    tokio::time::timeout(PATIENCE, exports::store(db, sent, locked))
        .await
        .unwrap_or_else(|elapsed| Err(Error::unavailable(elapsed)))
}
