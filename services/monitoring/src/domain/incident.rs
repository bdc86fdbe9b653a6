//! An incident: what the signer refused a node, for people to act on.

use berth_core::{AccountId, Error, Fence, IncidentId, NodeId, Result};
use chrono::{DateTime, Utc};

/// Where an incident is in its life. It goes on to RESOLVED by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum IncidentState {
    /// Nobody has taken it up.
    Open,
    /// Somebody knows.
    Acknowledged,
    /// It has not come again for a while.
    Resolved,
}

impl IncidentState {
    /// Somebody takes it up.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when it is over.
    pub fn acknowledge(self) -> Result<Self> {
        match self {
            Self::Open | Self::Acknowledged => Ok(Self::Acknowledged),
            Self::Resolved => Err(Error::precondition(
                "INCIDENT_STATE",
                "the incident is resolved already",
            )),
        }
    }
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Severity {
    /// Duties may be missed.
    Warning,
    /// Something tried what no honest machine of this placement does.
    Security,
}

/// Reasons of the signer that are more than a duty missed: a message that could
/// be slashed, another network, a placement that is not the current one, a key,
/// type or recipient that is not the placement's to use.
const SECURITY: [&str; 17] = [
    "BAD_VOTE",
    "BLOCK_BELOW_WATERMARK",
    "DOUBLE_PROPOSAL",
    "DOUBLE_VOTE",
    "FAR_FUTURE",
    "FEE_RECIPIENT",
    "FENCED",
    "GAS_LIMIT",
    "SURROUND",
    "SURROUNDED",
    "TYPE_NOT_PERMITTED",
    "UNKNOWN_KEY",
    "VOTE_BELOW_WATERMARK",
    "WRONG_FORK",
    "WRONG_NETWORK",
    "WRONG_PUBLIC_KEY",
    "WRONG_SIGNING_ROOT",
];

impl Severity {
    /// Of a refusal with this reason.
    #[must_use]
    pub fn of(reason: &str) -> Self {
        if SECURITY.contains(&reason) {
            Self::Security
        } else {
            Self::Warning
        }
    }
}

/// Refusals of one node for one reason, as the signer reported them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The node.
    pub node_id: NodeId,
    /// The stable reason.
    pub reason: String,
    /// How many.
    pub count: i64,
    /// The fence of the placement that asked last.
    pub fence: Fence,
    /// The key that it asked for, as it wrote it.
    pub public_key: String,
    /// What the last refusal said.
    pub detail: String,
}

/// An open problem.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Incident {
    /// Identifier.
    pub id: IncidentId,
    /// Owner of the node.
    pub account_id: AccountId,
    /// The node.
    pub node_id: NodeId,
    /// Why the signer refused.
    pub reason: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: IncidentState,
    /// How often it was reported.
    pub count: i64,
    /// The fence of the placement that asked last.
    pub fence: Fence,
    /// The key that it asked for.
    pub public_key: String,
    /// What the last refusal said.
    pub detail: String,
    /// When it was first reported.
    pub create_time: DateTime<Utc>,
    /// When it was last reported.
    pub last_time: DateTime<Utc>,
    /// When somebody took it up.
    pub acknowledge_time: Option<DateTime<Utc>>,
    /// When it was resolved.
    pub resolve_time: Option<DateTime<Utc>>,
    /// Grows with every change of state; shown to callers as the etag.
    pub version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_over_can_be_acknowledged() {
        use IncidentState::{Acknowledged, Open, Resolved};
        for (state, then) in [
            (Open, Some(Acknowledged)),
            (Acknowledged, Some(Acknowledged)),
            (Resolved, None),
        ] {
            assert_eq!(state.acknowledge().ok(), then, "{state:?}");
        }
    }

    #[test]
    fn what_could_be_slashed_is_no_mere_warning() {
        for reason in ["DOUBLE_VOTE", "SURROUND", "FENCED", "FEE_RECIPIENT"] {
            assert_eq!(Severity::of(reason), Severity::Security, "{reason}");
        }
        for reason in ["RATE_LIMITED", "KEY_NOT_LOADED", "FAR_PAST", ""] {
            assert_eq!(Severity::of(reason), Severity::Warning, "{reason}");
        }
    }
}
