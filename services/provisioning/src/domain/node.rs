//! A node: the wish to run a role of a chain, and what became of it.

use super::life::{Event, State, Transition};
use berth_core::{AccountId, Error, LeaseId, Money, Name, NodeId, OfferId, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node does for its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Signs.
    Validator,
    /// Follows the chain.
    Full,
    /// Keeps all history.
    Archive,
    /// Shields a validator.
    Sentry,
    /// Carries data between layers.
    Bridge,
    /// Makes proofs.
    Prover,
    /// Follows headers.
    Light,
}

/// What a node's own signals say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Health {
    /// No signal yet, or none for too long.
    Unknown,
    /// Follows the head of its chain.
    Healthy,
    /// Catching up.
    Syncing,
    /// Answers, and something is wrong.
    Degraded,
    /// Does not answer.
    Down,
}

/// What the chain says of a validator: running is not earning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Duty {
    /// Nothing tells, or its role has none.
    Unknown,
    /// Catching up with the chain.
    Syncing,
    /// None of its validators is active.
    NotInSet,
    /// Does its duty.
    Earning,
    /// Misses it.
    Delinquent,
    /// Shut out for a time by the chain.
    Jailed,
    /// Shut out for ever.
    Tombstoned,
    /// On its way out.
    Exiting,
    /// Out.
    Exited,
}

impl Duty {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Syncing => "syncing",
            Self::NotInSet => "not in set",
            Self::Earning => "earning",
            Self::Delinquent => "delinquent",
            Self::Jailed => "jailed",
            Self::Tombstoned => "tombstoned",
            Self::Exiting => "exiting",
            Self::Exited => "exited",
        }
    }
}

/// What monitoring says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What its own signals say.
    pub health: Health,
    /// The same for people.
    pub health_reason: String,
    /// What the chain says.
    pub duty: Duty,
    /// The same for people.
    pub duty_reason: String,
}

impl Said {
    /// Of a node that sends no signals, and why.
    #[must_use]
    pub fn nothing(why: &str) -> Self {
        Self {
            health: Health::Unknown,
            health_reason: why.to_owned(),
            duty: Duty::Unknown,
            duty_reason: String::new(),
        }
    }
}

/// Where the machine of a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The machine of this lease, which is the owner's own affair.
    Lease(LeaseId),
    /// A lease of this offer, made for the node.
    Offer(OfferId),
    /// A lease of the cheapest machine that fits, at most at this price an
    /// hour, made for the node.
    Price(Money),
}

/// A container of a node, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Name such as `node` or `agent`.
    pub name: String,
    /// What Docker says, such as `running`.
    pub state: String,
    /// Image digest that it runs.
    pub image_digest: String,
    /// How often Docker restarted it.
    pub restarts: u32,
}

/// The wish to run one role of one chain, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Node {
    /// Identifier.
    pub id: NodeId,
    /// Owner.
    pub account_id: AccountId,
    /// Name for people.
    pub name: Name,
    /// The chain.
    pub chain_id: String,
    /// The revision of its entry that the node runs.
    pub chain_revision: i64,
    /// The role.
    pub role: Role,
    /// Where the machine comes from.
    #[sqlx(flatten)]
    pub source: Source,
    /// Term of the lease that is made, in seconds.
    pub term_seconds: i64,
    /// What the owner chose.
    #[sqlx(json)]
    pub settings: BTreeMap<String, String>,
    /// Public keys of the validators that sign here.
    pub validators: Vec<String>,
    /// Where it is in its life.
    pub state: State,
    /// Why, for people.
    pub status_reason: String,
    /// What its own signals say.
    pub health: Health,
    /// The same for people.
    pub health_reason: String,
    /// What the chain says of it.
    pub duty: Duty,
    /// The same for people.
    pub duty_reason: String,
    /// The containers, as they were last seen.
    #[sqlx(json)]
    pub components: Vec<Component>,
    /// The lease in use.
    pub lease_id: Option<LeaseId>,
    /// Whether a lease was asked for and not learnt of yet.
    pub lease_asked: bool,
    /// How many leases were made for it before.
    pub lease_number: i32,
    /// Sequence of its newest event when it was read.
    pub last_event: i64,
    /// Grows with every change of wish and state; shown to callers as the etag.
    pub version: i64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
}

/// A node about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Owner.
    pub account_id: AccountId,
    /// Name for people.
    pub name: Name,
    /// The chain.
    pub chain_id: String,
    /// The revision of its entry.
    pub chain_revision: i64,
    /// The role.
    pub role: Role,
    /// Where the machine comes from.
    pub source: Source,
    /// Term of the lease that is made.
    pub term: TimeDelta,
    /// What the owner chose.
    pub settings: BTreeMap<String, String>,
    /// Public keys of the validators that sign here.
    pub validators: Vec<String>,
}

impl NewNode {
    /// The node as it begins.
    #[must_use]
    pub fn begin(self, now: DateTime<Utc>) -> Node {
        Node {
            id: NodeId::generate(),
            account_id: self.account_id,
            name: self.name,
            chain_id: self.chain_id,
            chain_revision: self.chain_revision,
            role: self.role,
            source: self.source,
            term_seconds: self.term.num_seconds(),
            settings: self.settings,
            validators: self.validators,
            state: State::Pending,
            status_reason: String::new(),
            health: Health::Unknown,
            health_reason: String::new(),
            duty: Duty::Unknown,
            duty_reason: String::new(),
            components: Vec::new(),
            lease_id: None,
            lease_asked: false,
            lease_number: 0,
            last_event: 0,
            version: 1,
            create_time: now,
        }
    }
}

/// One thing that happens to a node, about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Such as `image`; a change of state is `state`.
    pub name: &'static str,
    /// What happens, for people.
    pub message: String,
    /// How much is done, 0 to 100, where the work has a measure.
    pub percent: Option<u8>,
}

impl Step {
    /// A step without a measure.
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
            percent: None,
        }
    }
}

/// One thing that happened to a node.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NodeEvent {
    /// Grows by one with every event of a node.
    pub sequence: i64,
    /// When it happened.
    pub create_time: DateTime<Utc>,
    /// Such as `image`.
    pub step: String,
    /// What happened, for people.
    pub message: String,
    /// How much of the step is done; -1 where the work has no measure.
    pub percent: i32,
    /// State of the node at that time.
    pub state: State,
}

impl Node {
    /// Whether the lease was made for this node, and ends with it.
    #[must_use]
    pub fn owns_lease(&self) -> bool {
        match self.source {
            Source::Lease(_) => false,
            Source::Offer(_) | Source::Price(_) => true,
        }
    }

    /// Decides what an event does to this node.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when the state forbids the event.
    pub fn apply(&self, event: Event) -> Result<Transition> {
        self.state.after(event).ok_or_else(|| self.refuse(event))
    }

    fn refuse(&self, event: Event) -> Error {
        let advice = match event {
            Event::Stop => "it can be retired",
            Event::Start => "only a STOPPED node can be started",
            Event::Retry => "only a FAILED node can be tried again",
            Event::Reconfigure => "it is going away",
            Event::Upgrade => match self.state {
                State::Failed => "`retry` starts it with the version that was registered last",
                State::Launching => "wait until it runs, or stop it first",
                State::Pending
                | State::Placing
                | State::Running
                | State::Degraded
                | State::Stopping
                | State::Stopped => "wait until it runs or stands still",
                State::Retiring | State::Retired => "it is going away",
            },
            Event::Place
            | Event::Launch
            | Event::Answer
            | Event::Trouble
            | Event::Switch
            | Event::Overdue
            | Event::Halt
            | Event::Retire
            | Event::Vanish
            | Event::Fail => "it has moved on",
        };
        Error::precondition(
            "NODE_STATE",
            format!("node `{}` is {}: {advice}", self.name, self.state),
        )
    }
}
