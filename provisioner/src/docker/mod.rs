//! A machine's Docker, reached through its SSH session.
//!
//! Names and labels are deterministic, so that a call whose answer was lost is
//! made again and finds what is there. Images are in `images`, the shape of a
//! container in `harden`.

mod call;
mod compare;
mod containers;
mod engine;
mod examine;
mod exec;
mod logs;
mod networks;
mod observe;
mod read;

pub use call::{Answered, Call};
pub use containers::Ensured;
pub(crate) use engine::Engine;
pub(crate) use logs::log_lines;
pub use logs::{LogLine, LogQuery};
pub(crate) use networks::BRIDGE_PREFIX;
pub(crate) use observe::describe;
pub use observe::{ContainerState, Observed, ObservedContainer};
use read::labelled;

use crate::error::{Error, Result};
use crate::spec::{LABEL_FENCE, LABEL_NODE, LABEL_PLACEMENT, PlacementRef};
use std::collections::HashMap;

/// Labels that say whose an object is.
pub(crate) fn labels(placement: &PlacementRef) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_NODE.to_owned(), placement.node_id.clone()),
        (LABEL_PLACEMENT.to_owned(), placement.placement_id.clone()),
        (LABEL_FENCE.to_owned(), placement.fence.to_string()),
    ])
}

/// A query for objects of one node, or of any.
pub(crate) fn of_node(node_id: Option<&str>) -> String {
    match node_id {
        Some(id) => labelled(&format!("{LABEL_NODE}={id}")),
        None => labelled(LABEL_NODE),
    }
}

/// Something that is not there any more is removed.
pub(crate) fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if is_missing(&error) => Ok(()),
        other => other,
    }
}

/// Whether Docker said that there is no such thing.
pub(crate) fn is_missing(error: &Error) -> bool {
    has_status(error, 404)
}

/// Whether Docker said that the name is taken or the thing in use.
pub(crate) fn is_conflict(error: &Error) -> bool {
    has_status(error, 409)
}

fn has_status(error: &Error, wanted: u16) -> bool {
    matches!(error, Error::Docker { status: Some(status), .. } if *status == wanted)
}
