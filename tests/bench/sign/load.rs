//! Three ways to ask: at a steady rate whatever the replies take, one after the
//! other, and all at once.

use crate::fleet::{Fleet, Vote};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Milliseconds of each reply, shortest first, and the seconds of all together.
pub(crate) struct Replies {
    pub(crate) waits: Vec<f64>,
    pub(crate) took: f64,
}

/// So many blocks, one each `period`. A slow reply holds up none that follows.
pub(crate) async fn steady(fleet: &Arc<Fleet>, blocks: usize, period: Duration) -> Replies {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..blocks {
        ticks.tick().await;
        let fleet = Arc::clone(fleet);
        asked.spawn(async move { fleet.propose().await });
    }
    replies(asked.join_all().await, begun)
}

/// Clients that ask for a block each, and for the next when they have it.
pub(crate) async fn sustained(fleet: &Arc<Fleet>, clients: i32, span: Duration) -> Replies {
    let mut asking = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..clients {
        let fleet = Arc::clone(fleet);
        asking.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < span {
                waits.push(fleet.propose().await);
            }
            waits
        });
    }
    let waits = asking.join_all().await.into_iter().flatten();
    replies(waits.collect(), begun)
}

/// All votes at once: seconds to the last reply.
pub(crate) async fn burst(fleet: &Arc<Fleet>, votes: Vec<Vote>) -> f64 {
    let mut asked = JoinSet::new();
    let begun = Instant::now();
    for vote in votes {
        let fleet = Arc::clone(fleet);
        asked.spawn(async move { fleet.vote(vote).await });
    }
    asked.join_all().await;
    begun.elapsed().as_secs_f64()
}

fn replies(mut waits: Vec<f64>, begun: Instant) -> Replies {
    let took = begun.elapsed().as_secs_f64();
    waits.sort_by(f64::total_cmp);
    Replies { waits, took }
}
