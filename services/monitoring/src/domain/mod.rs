//! Decisions about health, duty and incidents. No I/O and no clock: the time is an argument.

mod duty;
mod health;
mod incident;
mod reading;

pub use duty::{Count, Duty, DutyState, Signs, duty};
pub use health::{Check, Health, Outcome, State, assess};
pub use incident::{Incident, IncidentState, Refused, Severity};
pub use reading::{Expectation, Reading, Readings};
