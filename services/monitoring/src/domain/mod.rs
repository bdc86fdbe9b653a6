//! Decisions about health, duty, incidents and what is seen on chain. No I/O and
//! no clock: the time is an argument.

mod activity;
mod duty;
mod health;
mod incident;
mod observed;
mod reading;
mod speaker;

pub use activity::{
    Activity, Attestation, Block, Committee, EpochRecord, Inconsistent, activity, has_quorum,
};
pub use duty::{Count, Duty, DutyState, Signs, Told, duty};
pub use health::{Check, Health, Outcome, State, assess};
pub use incident::{Incident, IncidentState, Refused, Severity};
pub use observed::{BeaconStatus, Calendar, NoStatus, Observed, OnChain, Track};
pub use reading::{Expectation, Reading, Readings};
pub use speaker::Speaker;
