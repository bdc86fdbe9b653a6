//! Decisions about health. No I/O and no clock: the time is an argument.

mod health;
mod reading;

pub use health::{Check, Health, Outcome, State, assess};
pub use reading::{Expectation, Reading, Readings};
