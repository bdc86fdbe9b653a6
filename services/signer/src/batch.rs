//! Claims that come together are decided together.
//!
//! A lone claim is decided at once. What arrives while statements are under way
//! goes together into the next; no timer waits for more.

use crate::domain::{Claim, PublicKey, Refusal};
use crate::store::decide::decide;
use berth_core::{Error, Result, report};
use sqlx::PgPool;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Statements under way at once.
pub(crate) const LANES: u32 = 4;
/// Most claims of a statement.
const MAX_BATCH: usize = 1000;
/// Most claims that wait in the channel.
const MAX_WAITING: usize = 16_384;
/// Longest wait for a statement, after which its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(5);

struct Waiting {
    claim: Claim,
    answer: oneshot::Sender<Result<Result<(), Refusal>>>,
}

/// Hands claims to the task that decides them.
#[derive(Debug, Clone)]
pub struct Batcher(mpsc::Sender<Waiting>);

impl Batcher {
    /// A batcher, and its task, which ends after the last batcher.
    pub fn new(db: PgPool) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), run(db, receiver))
    }

    /// Whether this may be signed. When it may, that is recorded durably.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] when too many wait, [`Error::Unavailable`] when the
    /// outcome is not known; then nothing may be signed.
    pub async fn sign(&self, claim: Claim) -> Result<Result<(), Refusal>> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Waiting { claim, answer }).map_err(|_| {
            Error::exhausted(
                "SIGNER_BUSY",
                "too many requests wait; try again in a moment",
            )
        })?;
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
            received = receiver.recv_many(&mut waiting, MAX_BATCH), if open && waiting.len() < MAX_WAITING => {
                open = received > 0;
            }
            Some(done) = lanes.join_next() => {
                // A panic: end the task, and with it the process.
                let Ok(keys): Result<Vec<PublicKey>, _> = done else { return };
                for key in keys {
                    busy.remove(&key);
                }
            }
        }
        while lanes.len() < LANES as usize {
            let batch = next(&mut waiting, &mut busy);
            if batch.is_empty() {
                break;
            }
            lanes.spawn(answer(db.clone(), batch));
        }
    }
}

/// The first claims whose keys are in no statement; the others stay in order.
fn next(waiting: &mut Vec<Waiting>, busy: &mut HashSet<PublicKey>) -> Vec<Waiting> {
    let mut taken = 0;
    waiting
        .extract_if(.., |one| {
            let take = taken < MAX_BATCH && busy.insert(one.claim.public_key);
            taken += usize::from(take);
            take
        })
        .collect()
}

/// Decides a batch and answers it. Returns its keys.
async fn answer(db: PgPool, batch: Vec<Waiting>) -> Vec<PublicKey> {
    let claims: Vec<_> = batch.iter().map(|one| one.claim).collect();
    let decided = match tokio::time::timeout(PATIENCE, decide(&db, &claims)).await {
        Ok(decided) => decided.map_err(|error| report(&error)),
        Err(elapsed) => Err(elapsed.to_string()),
    };
    let verdicts: Vec<_> = match decided {
        Ok(verdicts) => verdicts.into_iter().map(Ok).collect(),
        Err(why) => {
            tracing::error!(why, claims = claims.len(), "no decision about signatures");
            let failed = || Err(Error::unavailable(why.clone()));
            claims.iter().map(|_| failed()).collect()
        }
    };
    for (one, verdict) in batch.into_iter().zip(verdicts) {
        // Whoever asked may be gone.
        one.answer.send(verdict).ok();
    }
    claims.iter().map(|claim| claim.public_key).collect()
}
