//! Looking at chains through the operator's endpoints: where validators stand,
//! who of them is active, and what the signer should know of its quarantined
//! keys. Nothing is asked of a chain that has none of ours.

use super::custody::{Custody, Pinned};
use crate::beacon::{Beacon, Header, Problem};
use crate::config::ObserveConfig;
use crate::domain::{BeaconStatus, Inconsistent, Observed, Track, activity, has_quorum};
use crate::store::observed;
use berth_core::{Error, Result, report};
use berth_runtime::pg;
use berth_runtime::reconcile::{self, Claim, Outcome, Reconciler};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The kind of work; the object is a chain.
const OBSERVE: &str = "observe";
/// Pause after a look that failed at every endpoint.
const AGAIN: Duration = Duration::from_secs(10);
/// Shortest and longest pause between two looks.
const PAUSE: (u64, u64) = (2, 60);
/// Most epochs that one look makes up for; older ones are a gap.
const BEHIND: u64 = 3;
/// Most chains, and most endpoints of one.
const MOST: usize = 32;

/// Why a look at a chain came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blind {
    #[error("it is on another network")]
    OtherNetwork,
    #[error("its newest block is of slot {0}, and by our clock it is slot {1}")]
    Behind(u64, u64),
    #[error(transparent)]
    Beacon(#[from] Problem),
    #[error("its answers contradict each other: {0}")]
    Inconsistent(#[from] Inconsistent),
}

/// The endpoints of every chain, by its name.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(BTreeMap<String, Vec<Beacon>>);

impl Endpoints {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that says what is wrong with it.
    pub fn new(config: &[ObserveConfig]) -> Result<Self> {
        let wrong = |problem: String| Error::invalid("monitoring.observe", problem);
        let mut all = BTreeMap::new();
        for one in config {
            let timeout = Duration::from_secs(one.timeout_seconds.clamp(1, 300));
            let beacons = one.urls.iter().map(|url| Beacon::new(url, timeout));
            let beacons: Result<Vec<_>, _> = beacons.collect();
            let beacons = beacons.map_err(|problem| wrong(format!("{}: {problem}", one.chain)))?;
            if !(1..=MOST).contains(&beacons.len()) {
                return Err(wrong(format!("{}: name 1 to {MOST} URLs", one.chain)));
            }
            if all.insert(one.chain.clone(), beacons).is_some() {
                return Err(wrong(format!("{} stands there twice", one.chain)));
            }
        }
        if all.len() > MOST {
            return Err(wrong(format!("at most {MOST} chains")));
        }
        Ok(Self(all))
    }

    /// Sees that each chain is looked at.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn wake(&self, db: &PgPool) -> Result<()> {
        let mut conn = db.acquire().await.map_err(pg::error)?;
        for chain in self.0.keys() {
            let id = observed::know(&mut conn, chain).await?;
            reconcile::wake(&mut conn, OBSERVE, id).await?;
        }
        Ok(())
    }
}

/// Does the looking.
#[must_use]
pub fn observer(db: PgPool, endpoints: Endpoints, custody: Custody) -> Reconciler {
    let concurrency = endpoints.0.len().max(1);
    let observer = Arc::new(Observer {
        db: db.clone(),
        endpoints,
        custody,
    });
    Reconciler::new(db, concurrency).on(OBSERVE, move |claim| {
        let observer = Arc::clone(&observer);
        Box::pin(async move { observer.step(&claim).await })
    })
}

struct Observer {
    db: PgPool,
    endpoints: Endpoints,
    custody: Custody,
}

/// What one endpoint showed.
struct Look {
    seen: Vec<Observed>,
    /// The newest epoch whose votes were looked at, if any was.
    epoch: Option<u64>,
}

impl Observer {
    async fn step(&self, claim: &Claim) -> Result<Outcome> {
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        let chain = observed::chain(&mut conn, claim.object_id).await?;
        let Some((chain, epoch)) = chain.as_ref() else {
            return Ok(Outcome::Done);
        };
        let Some(beacons) = self.endpoints.0.get(chain) else {
            let why = "this replica has no endpoint for the chain";
            return Ok(Outcome::wait(why, Duration::from_secs(PAUSE.1)));
        };
        let mut keys: BTreeSet<_> = observed::wanted(&mut conn, chain)
            .await?
            .into_iter()
            .collect();
        let known = observed::of_chain(&mut conn, chain).await?;
        drop(conn);
        let Some(pinned) = self.custody.list(chain).await? else {
            let why = "the signer does not know the chain yet";
            return Ok(Outcome::wait(why, Duration::from_secs(PAUSE.1)));
        };
        keys.extend(pinned.quarantined.keys().cloned());
        let pause = pause(&pinned);
        if keys.is_empty() {
            return Ok(Outcome::wait("nothing to look for", pause));
        }
        let mut problems = Vec::new();
        for beacon in beacons {
            match look(beacon, &pinned, &keys, &known, *epoch).await {
                Ok(None) => return Ok(Outcome::wait("nothing new", pause)),
                Ok(Some(look)) => {
                    self.keep(claim, chain, &pinned, &look).await?;
                    self.custody.tell(chain, &pinned, &look.seen).await;
                    return Ok(Outcome::wait("looked", pause));
                }
                Err(problem) => problems.push(report(&problem)),
            }
        }
        let problem = problems.join("; ");
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        if observed::set_problem(&mut conn, chain, &problem).await? {
            tracing::warn!(chain, problem, "no endpoint of the chain can be used");
        }
        Ok(Outcome::wait(problem, AGAIN))
    }

    async fn keep(&self, claim: &Claim, chain: &str, pinned: &Pinned, look: &Look) -> Result<()> {
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        reconcile::guard(&mut txn, claim).await?;
        observed::save(&mut txn, chain, pinned.calendar, look.epoch, &look.seen).await?;
        if observed::set_problem(&mut txn, chain, "").await? {
            tracing::info!(chain, "the chain is seen again");
        }
        txn.commit().await.map_err(pg::error)
    }
}

/// A quarter of an epoch, within bounds.
fn pause(pinned: &Pinned) -> Duration {
    let epoch = u64::try_from(pinned.calendar.epoch().num_seconds()).unwrap_or(0);
    Duration::from_secs((epoch / 4).clamp(PAUSE.0, PAUSE.1))
}

/// Looks at the chain through one endpoint; `None` when nothing is new.
async fn look(
    beacon: &Beacon,
    pinned: &Pinned,
    keys: &BTreeSet<String>,
    known: &[Observed],
    last: Option<u64>,
) -> Result<Option<Look>, Blind> {
    let network = beacon.network().await?;
    if network != pinned.network {
        return Err(Blind::OtherNetwork);
    }
    let calendar = pinned.calendar;
    let head = beacon.head().await?;
    let now = calendar.slot_at(berth_core::now());
    if head.slot > now + 1 || head.slot + calendar.slots_per_epoch < now {
        return Err(Blind::Behind(head.slot, now));
    }
    let epoch = calendar.epoch_of(head.slot);
    let known: BTreeMap<_, _> = known.iter().map(|one| (&one.public_key, one)).collect();
    let new = keys
        .iter()
        .any(|key| known.get(key).is_none_or(|one| one.epoch != epoch));
    if !new {
        return Ok(None);
    }
    let keys: Vec<String> = keys.iter().cloned().collect();
    let mut seen = standing(beacon, &keys, &known, epoch).await?;
    let looked = follow(beacon, pinned, head, &mut seen, last).await?;
    Ok(Some(Look {
        seen,
        epoch: looked,
    }))
}

/// Where the validators stand on the chain now.
async fn standing(
    beacon: &Beacon,
    keys: &[String],
    known: &BTreeMap<&String, &Observed>,
    epoch: u64,
) -> Result<Vec<Observed>, Blind> {
    let found = beacon.validators(keys).await?;
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|one| (one.public_key.clone(), one))
        .collect();
    let observed = |key: &String| {
        let found = found.get(key);
        Observed {
            public_key: key.clone(),
            index: found.map(|one| one.index),
            status: found.map_or(BeaconStatus::Unknown, |one| one.status),
            slashed: found.is_some_and(|one| one.slashed),
            balance: found.map_or(0, |one| one.balance),
            epoch,
            track: known.get(key).map_or(Track::default(), |one| one.track),
        }
    };
    Ok(keys.iter().map(observed).collect())
}

/// Adds the epochs that are over, whose votes cannot come any more; returns the
/// newest of them.
async fn follow(
    beacon: &Beacon,
    pinned: &Pinned,
    head: Header,
    seen: &mut [Observed],
    last: Option<u64>,
) -> Result<Option<u64>, Blind> {
    let calendar = pinned.calendar;
    let with_duties = seen.iter().filter(|one| one.status.has_duties());
    let watched: BTreeSet<u64> = with_duties.filter_map(|one| one.index).collect();
    let newest = calendar.epoch_of(head.slot).checked_sub(2);
    // The first epoch follows a block that no node gives away.
    let Some(newest) = newest.filter(|newest| *newest > 0 && !watched.is_empty()) else {
        return Ok(None);
    };
    let first = last.map_or(newest, |last| last + 1);
    let first = first.max(newest.saturating_sub(BEHIND)).max(1);
    for epoch in first..=newest {
        let record = beacon.epoch(epoch, calendar.slots_per_epoch, head).await?;
        let activity = activity(&record, &watched)?;
        let tells_silence = has_quorum(&record)?;
        for one in &mut *seen {
            if let Some(index) = one.index
                && (tells_silence || activity.seen.contains(&index))
            {
                one.track = one.track.after(epoch, index, &activity);
            }
        }
    }
    // The head of another node may be behind.
    Ok(last.max(Some(newest)))
}
