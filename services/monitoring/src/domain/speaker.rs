//! Which placement is heard.

use berth_core::{Error, Fence, NodeId, PlacementId, Result};

/// A placement that speaks, or the one that may speak for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Speaker {
    /// Its node.
    pub node_id: NodeId,
    /// The placement.
    pub placement_id: PlacementId,
    /// Its fence.
    pub fence: Fence,
}

impl Speaker {
    /// Refuses all but the current placement of a node. That a stale one calls is
    /// no fault of ours: a machine may come back at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] with `NOT_PLACED` or `FENCED`.
    pub fn admit(self, current: Option<Self>) -> Result<()> {
        let node = self.node_id;
        let current = current.ok_or_else(|| {
            Error::precondition("NOT_PLACED", format!("nothing is expected of {node}"))
        })?;
        if current.fence != self.fence {
            let (have, want) = (self.fence, current.fence);
            return Err(Error::precondition(
                "FENCED",
                format!("fence {have} is not the current fence {want} of {node}"),
            ));
        }
        if current.placement_id != self.placement_id {
            let placement = self.placement_id;
            return Err(Error::precondition(
                "FENCED",
                format!("{placement} is not the current placement of {node}"),
            ));
        }
        Ok(())
    }
}
