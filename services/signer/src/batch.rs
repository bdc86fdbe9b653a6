//! Claims that come together are decided together, in one statement.

use crate::domain::{Claim, PublicKey, Refusal};
use crate::store::decide::decide;
use berth_core::{Error, Result, report};
use berth_runtime::lanes::{self, Batches, Lanes};
use sqlx::PgPool;
use std::collections::HashSet;
use std::time::Duration;

/// Statements under way at once.
pub(crate) const LANES: u32 = 4;
/// Most claims of a statement.
const MAX_BATCH: usize = 1000;
/// Longest wait for a statement, after which its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a claim may be signed.
type Verdict = Result<(), Refusal>;
type Asked = lanes::Asked<Claim, Verdict>;

/// Hands claims to the task that decides them.
#[derive(Debug, Clone)]
pub struct Batcher(Lanes<Claim, Verdict>);

impl Batcher {
    /// A batcher, and its task, which ends after the last batcher.
    pub fn new(db: PgPool) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (lanes, task) = lanes::lanes(Claims(db));
        (Self(lanes), task)
    }

    /// Whether this may be signed. When it may, that is recorded durably.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] when too many wait, [`Error::Unavailable`] when the
    /// outcome is not known; then nothing may be signed.
    pub async fn sign(&self, claim: Claim) -> Result<Verdict> {
        let busy = || {
            Error::exhausted(
                "SIGNER_BUSY",
                "too many requests wait; try again in a moment",
            )
        };
        self.0.ask(claim, Duration::ZERO, busy).await
    }
}

struct Claims(PgPool);

impl Batches for Claims {
    type Ask = Claim;
    type Answer = Verdict;
    type Key = PublicKey;

    const LANES: usize = LANES as usize;
    const ROOM: usize = 16_384;

    /// The first claims whose keys are in no statement.
    fn next(&self, waiting: &mut Vec<Asked>, busy: &mut HashSet<PublicKey>) -> Vec<Asked> {
        let mut taken = 0;
        waiting
            .extract_if(.., |one| {
                let take = taken < MAX_BATCH && busy.insert(one.what.public_key);
                taken += usize::from(take);
                take
            })
            .collect()
    }

    fn serve(&self, batch: Vec<Asked>) -> impl Future<Output = Vec<PublicKey>> + Send + 'static {
        answer(self.0.clone(), batch)
    }
}

/// Decides a batch and answers it. Returns its keys.
async fn answer(db: PgPool, batch: Vec<Asked>) -> Vec<PublicKey> {
    let claims: Vec<_> = batch.iter().map(|one| one.what).collect();
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
        one.answer(verdict);
    }
    claims.iter().map(|claim| claim.public_key).collect()
}
