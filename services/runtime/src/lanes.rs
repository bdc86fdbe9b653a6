//! What comes together is done together.
//!
//! What comes alone is done at once. What comes while others are under way goes
//! together into the next batch; no timer waits for more. A caller that goes away
//! ends nothing that was begun.

use berth_core::{Error, Result};
use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// One of a batch, and who waits for its answer.
#[derive(Debug)]
pub struct Asked<Q, A> {
    /// What is to be done.
    pub what: Q,
    answer: oneshot::Sender<Result<A>>,
}

impl<Q, A> Asked<Q, A> {
    /// Answers, if anybody still waits.
    pub fn answer(self, answer: Result<A>) {
        self.answer.send(answer).ok();
    }
}

/// How batches of one kind are made and done.
pub trait Batches: Send + 'static {
    /// What is to be done.
    type Ask: Send + 'static;
    /// What comes of it.
    type Answer: Send + 'static;
    /// What two batches under way must not have in common.
    type Key: Eq + Hash + Send + 'static;

    /// Batches under way at once. The fewer, the more share one.
    const LANES: usize;
    /// Most that wait in the channel, and as many again behind it.
    const ROOM: usize;

    /// Takes those that may go now and adds their keys to those that are busy. The
    /// others stay in order.
    fn next(
        &self,
        waiting: &mut Vec<Asked<Self::Ask, Self::Answer>>,
        busy: &mut HashSet<Self::Key>,
    ) -> Vec<Asked<Self::Ask, Self::Answer>>;

    /// Does a batch and answers each. Returns the keys that are free again.
    fn serve(
        &self,
        batch: Vec<Asked<Self::Ask, Self::Answer>>,
    ) -> impl Future<Output = Vec<Self::Key>> + Send + 'static;
}

/// Hands over to the task that makes batches; cheap to clone.
#[derive(Debug)]
pub struct Lanes<Q, A>(mpsc::Sender<Asked<Q, A>>);

impl<Q, A> Clone for Lanes<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Lanes, and the task behind them, which ends after the last of them.
pub fn lanes<B: Batches>(
    batches: B,
) -> (
    Lanes<B::Ask, B::Answer>,
    impl Future<Output = ()> + Send + 'static,
) {
    let (sender, receiver) = mpsc::channel(B::ROOM);
    (Lanes(sender), run(batches, receiver))
}

impl<Q, A> Lanes<Q, A> {
    /// Has something done; waits so long for room.
    ///
    /// # Errors
    ///
    /// What `full` makes when there is no room, [`Error::Unavailable`] when the
    /// outcome is not known, and what the batch answers.
    pub async fn ask(
        &self,
        what: Q,
        patience: Duration,
        full: impl FnOnce() -> Error,
    ) -> Result<A> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { what, answer };
        let sent = self.0.send_timeout(asked, patience).await;
        sent.map_err(|_| full())?;
        answered.await.map_err(Error::unavailable)?
    }
}

async fn run<B: Batches>(batches: B, mut receiver: mpsc::Receiver<Asked<B::Ask, B::Answer>>) {
    let mut waiting = Vec::new();
    let mut busy = HashSet::new();
    let mut lanes = JoinSet::new();
    let mut open = true;
    while open || !lanes.is_empty() {
        tokio::select! {
            received = receiver.recv_many(&mut waiting, B::ROOM), if open && waiting.len() < B::ROOM => {
                open = received > 0;
            }
            Some(done) = lanes.join_next() => {
                // A panic: end the task, and with it the process.
                let Ok(free): Result<Vec<B::Key>, _> = done else { return };
                for key in &free {
                    busy.remove(key);
                }
            }
        }
        // Nobody would take the answer.
        waiting.retain(|asked: &Asked<_, _>| !asked.answer.is_closed());
        while lanes.len() < B::LANES {
            let batch = batches.next(&mut waiting, &mut busy);
            if batch.is_empty() {
                break;
            }
            lanes.spawn(batches.serve(batch));
        }
    }
}
