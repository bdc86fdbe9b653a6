//! What machines say, read from bytes alone: the ways in for those who throw
//! damaged input at it. Nothing of Berth calls them.

use crate::docker::{LogLine, ObservedContainer, describe, log_lines};
use crate::error::{Error, Result};
use crate::facts::{Facts, facts_of};

/// Facts from what the commands print.
///
/// # Errors
///
/// [`Error::Answer`] when it is not understood.
pub fn facts(printed: &str) -> Result<Facts> {
    facts_of(printed)
}

/// A container from the JSON that Docker describes it with.
///
/// # Errors
///
/// [`Error::Answer`] when it is not understood.
pub fn container(json: &[u8]) -> Result<ObservedContainer> {
    let inspected = serde_json::from_slice(json);
    describe(inspected.map_err(|error| Error::answer("inspect a container", error))?)
}

/// The lines of a log whose frames come in these parts, each cut to `max_line`.
pub fn log(parts: &[&[u8]], max_line: usize) -> Vec<LogLine> {
    log_lines(parts, max_line)
}
