//! The slashing rules by watermarks (EIP-3076), as people read them.
//!
//! Permission is given by the statement in `store::decide` alone; this says why
//! it refused, and is the oracle that the tests hold that statement against.

use super::refusal::{Reason, Refusal};
use super::{Message, Root};

/// The highest that was signed or imported for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermarks {
    /// Slot of the last block.
    pub block: Option<u64>,
    /// Its root, where this signer signed it.
    pub block_root: Option<Root>,
    /// Source and target epoch of the last vote.
    pub vote: Option<(u64, u64)>,
    /// Its root, where this signer signed it.
    pub vote_root: Option<Root>,
}

impl Watermarks {
    /// The watermarks after a message is signed; unchanged where the very same
    /// was signed before.
    ///
    /// # Errors
    ///
    /// The rule that forbids it.
    pub fn sign(self, message: Message, root: Root) -> Result<Self, Refusal> {
        match message {
            Message::Block { slot } => self.block(slot, root),
            Message::Attestation { source, target } => self.attestation(source, target, root),
            Message::Other => Ok(self),
        }
    }

    fn block(self, slot: u64, root: Root) -> Result<Self, Refusal> {
        let Some(last) = self.block else {
            return Ok(self.with_block(slot, root));
        };
        if slot > last {
            return Ok(self.with_block(slot, root));
        }
        if slot == last && self.block_root == Some(root) {
            return Ok(self);
        }
        let reason = if slot == last && self.block_root.is_some() {
            Reason::DoubleProposal
        } else {
            Reason::BlockBelowWatermark
        };
        let last_root = known(self.block_root);
        Err(Refusal::new(
            reason,
            format!("block at slot {slot}; last is slot {last}, {last_root}"),
        ))
    }

    fn attestation(self, source: u64, target: u64, root: Root) -> Result<Self, Refusal> {
        if source > target {
            let detail = format!("source epoch {source} is above target epoch {target}");
            return Err(Refusal::new(Reason::BadVote, detail));
        }
        let Some((last_source, last_target)) = self.vote else {
            return Ok(self.with_vote(source, target, root));
        };
        if source >= last_source && target > last_target {
            return Ok(self.with_vote(source, target, root));
        }
        if self.vote == Some((source, target)) && self.vote_root == Some(root) {
            return Ok(self);
        }
        let reason = if target == last_target && self.vote_root.is_some() {
            Reason::DoubleVote
        } else if source < last_source && target > last_target {
            Reason::Surround
        } else if source > last_source && target < last_target {
            Reason::Surrounded
        } else {
            Reason::VoteBelowWatermark
        };
        let last_root = known(self.vote_root);
        Err(Refusal::new(
            reason,
            format!("vote {source} → {target}; last is {last_source} → {last_target}, {last_root}"),
        ))
    }

    /// The higher of each watermark. What comes from elsewhere has no root, so
    /// it is never signed again; a watermark that stays keeps its root.
    #[must_use]
    pub fn raise(self, block: Option<u64>, vote: Option<(u64, u64)>) -> Self {
        let mut raised = self;
        if block.is_some() && block >= self.block {
            raised.block = block;
            raised.block_root = None;
        }
        if let Some((source, target)) = vote {
            let (last_source, last_target) = self.vote.unwrap_or((source, target));
            raised.vote = Some((source.max(last_source), target.max(last_target)));
            if self.vote.is_none() || source > last_source || target >= last_target {
                raised.vote_root = None;
            }
        }
        raised
    }

    fn with_block(self, slot: u64, root: Root) -> Self {
        Self {
            block: Some(slot),
            block_root: Some(root),
            ..self
        }
    }

    fn with_vote(self, source: u64, target: u64, root: Root) -> Self {
        Self {
            vote: Some((source, target)),
            vote_root: Some(root),
            ..self
        }
    }
}

fn known(root: Option<Root>) -> String {
    root.map_or_else(
        || "which was imported".to_owned(),
        |root| format!("root {root}"),
    )
}
