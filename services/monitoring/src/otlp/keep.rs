//! Exports that come together are stored together.
//!
//! A lone export is stored at once. What arrives while others are being stored
//! goes together into the next transaction; no timer waits for more. The exports
//! of a node follow one another, whichever replica they reach, and its fence
//! cannot move meanwhile.

use super::Point;
use crate::domain::Speaker;
use crate::store::exports::{self, LeftOut, Sent};
use berth_core::{Error, NodeId, Result, report};
use sqlx::PgPool;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Transactions under way at once. The fewer, the more exports share one.
const LANES: usize = 2;
/// Most exports of a transaction.
const MAX_EXPORTS: usize = 256;
/// Most points of a transaction, unless one export has more.
const MAX_POINTS: usize = 10_000;
/// Most exports that wait; those who bring more wait until there is room.
const MAX_WAITING: usize = 1024;
/// Longest wait for room.
const ROOM: Duration = Duration::from_secs(5);
/// Longest wait for a transaction, after which its outcome is unknown. Longer than
/// a statement may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Waiting {
    sent: Sent,
    answer: oneshot::Sender<Result<Vec<LeftOut>>>,
}

/// Hands exports to the task that stores them.
#[derive(Debug, Clone)]
pub(super) struct Keeper(mpsc::Sender<Waiting>);

impl Keeper {
    /// A keeper, and its task, which ends after the last keeper.
    pub(super) fn new(db: PgPool) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), run(db, receiver))
    }

    /// Stores the points of one export; returns the series that find no room.
    /// What is answered is committed.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when another placement is the current one,
    /// [`Error::Unavailable`] when the outcome is not known.
    pub(super) async fn keep(&self, speaker: Speaker, points: Vec<Point>) -> Result<Vec<LeftOut>> {
        let (answer, answered) = oneshot::channel();
        let sent = Sent { speaker, points };
        let waiting = Waiting { sent, answer };
        self.0
            .send_timeout(waiting, ROOM)
            .await
            .map_err(|error| Error::unavailable(error.to_string()))?;
        answered.await.map_err(Error::unavailable)?
    }
}

async fn run(db: PgPool, mut receiver: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    let mut busy = HashSet::new();
    let mut lanes = JoinSet::new();
    let mut open = true;
    while open || !lanes.is_empty() {
        tokio::select! {
            received = receiver.recv_many(&mut waiting, MAX_EXPORTS), if open && waiting.len() < MAX_WAITING => {
                open = received > 0;
            }
            Some(done) = lanes.join_next() => {
                // A panic: end the task, and with it the process.
                let Ok(nodes): Result<Vec<NodeId>, _> = done else { return };
                for node in nodes {
                    busy.remove(&node);
                }
            }
        }
        while lanes.len() < LANES {
            let batch = next(&mut waiting, &mut busy);
            if batch.is_empty() {
                break;
            }
            lanes.spawn(answer(db.clone(), batch));
        }
    }
}

/// The first exports whose nodes are in no transaction; the others stay in order.
fn next(waiting: &mut Vec<Waiting>, busy: &mut HashSet<NodeId>) -> Vec<Waiting> {
    let (mut exports, mut points) = (0, 0);
    waiting
        .extract_if(.., |one| {
            let more = points + one.sent.points.len();
            let fits = exports == 0 || (exports < MAX_EXPORTS && more <= MAX_POINTS);
            let take = fits && busy.insert(one.sent.speaker.node_id);
            if take {
                (exports, points) = (exports + 1, more);
            }
            take
        })
        .collect()
}

/// Stores a batch and answers it. Returns its nodes.
async fn answer(db: PgPool, batch: Vec<Waiting>) -> Vec<NodeId> {
    let nodes = batch.iter().map(|one| one.sent.speaker.node_id).collect();
    let (sent, askers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|one| (one.sent, one.answer)).unzip();
    let verdicts = match in_time(&db, &sent).await {
        Ok(verdicts) => verdicts,
        // One of them is at fault, and none shall answer for another.
        Err(Error::Internal(_)) if sent.len() > 1 => {
            let mut verdicts = Vec::new();
            for one in &sent {
                verdicts.push(alone(&db, one).await);
            }
            verdicts
        }
        Err(Error::Internal(source)) => vec![Err(Error::Internal(source))],
        Err(error) => {
            let why = report(&error);
            let failed = |_| Err(Error::unavailable(why.clone()));
            sent.iter().map(failed).collect()
        }
    };
    for (asker, verdict) in askers.into_iter().zip(verdicts) {
        // Whoever asked may be gone.
        asker.send(verdict).ok();
    }
    nodes
}

async fn alone(db: &PgPool, sent: &Sent) -> Result<Vec<LeftOut>> {
    let mut verdicts = in_time(db, std::slice::from_ref(sent)).await?;
    verdicts.pop().unwrap_or_else(|| Ok(Vec::new()))
}

async fn in_time(db: &PgPool, sent: &[Sent]) -> Result<Vec<Result<Vec<LeftOut>>>> {
    tokio::time::timeout(PATIENCE, exports::store(db, sent))
        .await
        .unwrap_or_else(|elapsed| Err(Error::unavailable(elapsed)))
}
