//! The HTTP API of `Web3Signer`, as validator clients speak it: duties of machines
//! on one listener, and what looks after the signer on the other.
//!
//! An answer with a signature is made in this order, and no other: the message
//! is understood and held against the pinned chain, the present and the owner's
//! policy; the row of the key decides and records; only then the key signs.
//!
//! Deliberately absent: permission (`store::decide` has it) and, but for
//! `routes`, the codes of HTTP.

mod answers;
mod body;
mod health;
mod keymanager;
mod rate;
mod routes;
mod settings;

pub use routes::{admin_routes, duty_routes, keymanager_routes};

use crate::Present;
use crate::batch::Batcher;
use crate::domain::eth::SignRequest;
use crate::domain::refusal::Reason;
use crate::domain::validator::State;
use crate::domain::{Claim, PublicKey, Refusal, Root, Signature, SigningKey};
use crate::keyring::Keyring;
use crate::roster::{Known, Roster};
use axum::body::{Body, Bytes};
use axum::http::{Extensions, Request};
use berth_core::{Error, Fence, NodeId, PlacementId, Result};
use berth_runtime::auth::{self, Peer};
use berth_runtime::metrics::Metric;
use berth_runtime::status::classify;
use body::{Desk, Rooms};
use rate::Rate;
use sqlx::PgPool;
use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Requests for one validator by one placement: so many at once, and one each
/// so often. A validator has about four duties in a slot.
const REQUESTS: (u32, Duration) = (64, Duration::from_micros(62_500));
/// The same for log lines of one placement about one reason.
const LINES: (u32, Duration) = (8, Duration::from_secs(1));
/// Longest part of a path that a log line repeats: a key.
const ECHO: usize = 98;
/// Reasons that are not about the request.
const FAILURES: [&str; 3] = ["SIGNER_BUSY", "DEPENDENCY_DOWN", "INTERNAL"];

/// Signs the duties of placements.
pub struct Duty {
    db: PgPool,
    batcher: Batcher,
    roster: Arc<Roster>,
    keyring: Arc<Keyring>,
    present: Present,
    rooms: Rooms,
    desk: Desk,
    // By placement as well: a machine that was replaced takes nothing from its
    // successor.
    requests: Rate<(PublicKey, PlacementId)>,
    lines: Rate<(PlacementId, &'static str)>,
    cores: Semaphore,
    signatures: Arc<Metric>,
    refusals: Arc<Metric>,
}

impl fmt::Debug for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duty").finish_non_exhaustive()
    }
}

/// The placement that asks, by its certificate.
#[derive(Debug, Clone, Copy)]
struct Asker {
    node_id: NodeId,
    placement_id: PlacementId,
    fence: Fence,
}

/// Why there is no signature.
#[derive(Debug)]
enum Unsigned {
    /// A rule forbids it.
    Refused(Refusal),
    /// Whether it may be signed is not known.
    Failed(Error),
}

/// A request that was understood and waits for its decision.
struct Asked {
    kind: &'static str,
    claim: Claim,
    key: Arc<SigningKey>,
}

impl Duty {
    /// Signs with the keys of `keyring` what `batcher` permits.
    #[must_use]
    pub fn new(
        db: PgPool,
        batcher: Batcher,
        roster: Arc<Roster>,
        keyring: Arc<Keyring>,
        present: Present,
    ) -> Self {
        let reasons = Reason::ALL.iter().map(|reason| reason.name());
        Self {
            db,
            batcher,
            roster,
            keyring,
            present,
            rooms: Rooms::default(),
            desk: Desk::default(),
            requests: Rate::new(REQUESTS.0, REQUESTS.1),
            lines: Rate::new(LINES.0, LINES.1),
            cores: Semaphore::new(available_parallelism().map_or(1, usize::from)),
            signatures: Metric::counter(
                "signer.signatures",
                "Signatures given to machines.",
                "type",
                SignRequest::kinds(),
            ),
            refusals: Metric::counter(
                "signer.refusals",
                "Requests of machines that were not signed.",
                "reason",
                reasons.chain(FAILURES),
            ),
        }
    }

    /// Answers a request. What is refused is counted and, within bounds, logged.
    async fn sign(
        &self,
        asker: &Asker,
        key: &str,
        request: Request<Body>,
    ) -> Result<Signature, Unsigned> {
        let outcome = self.decide_and_sign(asker, key, request).await;
        if let Err(unsigned) = &outcome {
            self.note(asker, key, unsigned);
        }
        outcome
    }

    async fn decide_and_sign(
        &self,
        asker: &Asker,
        key: &str,
        request: Request<Body>,
    ) -> Result<Signature, Unsigned> {
        let (body, _room) = self.rooms.read(asker.placement_id, request).await?;
        let asked = self.understand(asker, key, body).await?;
        self.batcher.sign(asked.claim).await??;
        let signature = self.sign_with(asked.key, asked.claim.root).await?;
        self.signatures.add(asked.kind, 1);
        Ok(signature)
    }

    /// What the request asks, where it fits chain, present and policy. Whether
    /// it is signed is not decided here.
    async fn understand(&self, asker: &Asker, key: &str, body: Bytes) -> Result<Asked, Unsigned> {
        let known = self.known(asker, key)?;
        let (public_key, state) = (known.policy.public_key, known.state);
        if !self.requests.take((public_key, asker.placement_id)) {
            let detail = "too many requests for this validator";
            return Err(Refusal::new(Reason::RateLimited, detail).into());
        }
        let now = (self.present)()?;
        let read = move |body: &[u8]| {
            let request = SignRequest::parse(body)?;
            let checked = request.check(&known.chain, &known.policy, now)?;
            Ok::<_, Refusal>((request.kind(), checked))
        };
        let (kind, (message, root)) = self.desk.read(body, read).await??;
        // Before the decision: what is recorded can be signed.
        let key = self.keyring.get(&public_key).ok_or_else(|| {
            // Nobody holds a key that its owner stopped.
            let (reason, detail) = match state {
                State::Disabled | State::Removed => (Reason::Disabled, "signs nothing now"),
                State::Quarantined | State::Active => {
                    (Reason::KeyNotLoaded, "is not held by this signer now")
                }
            };
            Refusal::new(reason, format!("{public_key} {detail}"))
        })?;
        Ok(Asked {
            kind,
            claim: Claim {
                public_key,
                node_id: asker.node_id,
                fence: asker.fence,
                message,
                root,
            },
            key,
        })
    }

    /// The validator of that key, where it is one of the asker's node.
    fn known(&self, asker: &Asker, key: &str) -> Result<Arc<Known>, Refusal> {
        let public_key = key.parse().ok();
        public_key
            .and_then(|public_key| self.roster.validator(&public_key))
            .filter(|known| known.node_id == Some(asker.node_id))
            .ok_or_else(|| {
                let detail = format!("{} has no validator of this key", asker.node_id);
                Refusal::new(Reason::UnknownKey, detail)
            })
    }

    /// A signature takes 0.4 ms of a core: on threads of its own, no more of
    /// them than cores, so that in a burst everything else goes on.
    async fn sign_with(&self, key: Arc<SigningKey>, root: Root) -> Result<Signature> {
        let _core = self.cores.acquire().await.map_err(Error::internal)?;
        let signing = spawn_blocking(move || key.sign(&root));
        signing.await.map_err(Error::internal)
    }

    fn note(&self, asker: &Asker, key: &str, unsigned: &Unsigned) {
        let (reason, detail) = unsigned.parts();
        self.refusals.add(reason, 1);
        if self.lines.take((asker.placement_id, reason)) {
            tracing::warn!(
                reason,
                public_key = key.chars().take(ECHO).collect::<String>(),
                node_id = %asker.node_id,
                fence = %asker.fence,
                detail,
                "not signed"
            );
        }
    }
}

impl Asker {
    /// The peer of a request; on the duty listener it is a placement.
    fn of(extensions: &Extensions) -> Result<Self> {
        match *auth::peer(extensions)? {
            Peer::Placement {
                node_id,
                placement_id,
                fence,
            } => Ok(Self {
                node_id,
                placement_id,
                fence,
            }),
            Peer::Service(_) => Err(Error::Forbidden {
                reason: "CALLER_NOT_PERMITTED",
                message: "only a placement may ask for signatures".to_owned(),
            }),
        }
    }
}

impl Unsigned {
    /// The reason for programs, and for people.
    fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Refused(refusal) => (refusal.reason.name(), refusal.detail.clone()),
            Self::Failed(error) => (classify(error).1, error.to_string()),
        }
    }
}

impl From<Refusal> for Unsigned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Unsigned {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
