//! Decisions about health and duty. No I/O and no clock: the time is an argument.

mod duty;
mod health;
mod reading;

pub use duty::{Count, Duty, DutyState, Signs, duty};
pub use health::{Check, Health, Outcome, State, assess};
pub use reading::{Expectation, Reading, Readings};
