//! The life of one placement: a node on a machine under a fence.

use super::Share;
use berth_core::{Error, Fence, LeaseId, MachineId, NodeId, PlacementId, Result};
use chrono::{DateTime, Utc};

/// Where a placement is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PlacementState {
    /// The one place where the node may act.
    Current,
    /// May not act any more; not wiped yet.
    Fenced,
    /// Nothing is left of it on its machine.
    Wiped,
    /// Its machine was never seen again.
    Abandoned,
}

/// What can happen to a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementEvent {
    /// It may not act any more.
    Fence,
    /// Its machine was wiped.
    Wipe,
    /// Its machine is not coming back.
    Abandon,
}

/// One node on one machine under one fence.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Placement {
    /// Identifier.
    pub id: PlacementId,
    /// The node.
    pub node_id: NodeId,
    /// The machine.
    pub machine_id: MachineId,
    /// The lease under which the machine may be used.
    pub lease_id: LeaseId,
    /// The number that orders the placements of a node.
    pub fence: Fence,
    /// Where it is in its life.
    pub state: PlacementState,
    /// What it takes of the machine.
    #[sqlx(flatten)]
    pub share: Share,
    /// Added to the numbers of its ports.
    pub port_offset: i32,
    /// When all of it stood on the machine.
    pub deploy_time: Option<DateTime<Utc>>,
    /// When it was fenced.
    pub fence_time: Option<DateTime<Utc>>,
}

impl Placement {
    /// Decides what an event makes of this placement; the same state when it
    /// already happened.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] for the wipe or loss of a placement that may
    /// still act: it is fenced first.
    pub fn apply(&self, event: PlacementEvent) -> Result<PlacementState> {
        use PlacementEvent as E;
        use PlacementState as S;
        match (self.state, event) {
            (S::Current | S::Fenced, E::Fence) => Ok(S::Fenced),
            (S::Fenced | S::Wiped | S::Abandoned, E::Wipe) => Ok(S::Wiped),
            (S::Fenced | S::Abandoned, E::Abandon) => Ok(S::Abandoned),
            (S::Wiped, E::Fence | E::Abandon) => Ok(S::Wiped),
            (S::Abandoned, E::Fence) => Ok(S::Abandoned),
            (S::Current, E::Wipe | E::Abandon) => Err(Error::precondition(
                "PLACEMENT_STATE",
                format!("{} is current; fence it first", self.id),
            )),
        }
    }

    /// Lets only the current placement under its own fence act.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] for a placement that is not current, or for another
    /// node or fence than its own.
    pub fn check_current(&self, node_id: NodeId, fence: Fence) -> Result<()> {
        let own = self.node_id == node_id && self.fence == fence;
        if own && self.state == PlacementState::Current {
            Ok(())
        } else {
            Err(Error::Fenced {
                have: fence.get(),
                want: self.fence.get(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PlacementEvent as E;
    use PlacementState as S;

    fn placement(state: PlacementState) -> Placement {
        Placement {
            id: PlacementId::generate(),
            node_id: NodeId::generate(),
            machine_id: MachineId::generate(),
            lease_id: LeaseId::generate(),
            fence: Fence::FIRST,
            state,
            share: Share::default(),
            port_offset: 0,
            deploy_time: None,
            fence_time: None,
        }
    }

    #[test]
    fn every_state_and_event_is_decided() {
        let table = [
            (S::Current, E::Fence, Some(S::Fenced)),
            (S::Current, E::Wipe, None),
            (S::Current, E::Abandon, None),
            (S::Fenced, E::Fence, Some(S::Fenced)),
            (S::Fenced, E::Wipe, Some(S::Wiped)),
            (S::Fenced, E::Abandon, Some(S::Abandoned)),
            (S::Wiped, E::Fence, Some(S::Wiped)),
            (S::Wiped, E::Wipe, Some(S::Wiped)),
            (S::Wiped, E::Abandon, Some(S::Wiped)),
            (S::Abandoned, E::Fence, Some(S::Abandoned)),
            (S::Abandoned, E::Wipe, Some(S::Wiped)),
            (S::Abandoned, E::Abandon, Some(S::Abandoned)),
        ];
        for (state, event, expected) in table {
            let seen = placement(state).apply(event).ok();
            assert_eq!(seen, expected, "{state:?} + {event:?}");
        }
    }

    #[test]
    fn only_the_current_placement_under_its_own_fence_acts() {
        let current = placement(S::Current);
        current
            .check_current(current.node_id, Fence::FIRST)
            .unwrap();
        let refused = |p: &Placement, node, fence| {
            matches!(p.check_current(node, fence), Err(Error::Fenced { .. }))
        };
        assert!(refused(&current, NodeId::generate(), Fence::FIRST));
        assert!(refused(&current, current.node_id, Fence::FIRST.next()));
        let fenced = placement(S::Fenced);
        assert!(refused(&fenced, fenced.node_id, Fence::FIRST));
    }
}
