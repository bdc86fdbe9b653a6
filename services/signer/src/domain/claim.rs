//! What a placement asks to sign, after it was understood and before it is
//! decided.

use super::{PublicKey, Root};
use berth_core::{Fence, NodeId};

/// A message as the slashing rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A block proposal.
    Block {
        /// Its slot.
        slot: u64,
    },
    /// A vote.
    Attestation {
        /// Epoch of its source.
        source: u64,
        /// Epoch of its target.
        target: u64,
    },
    /// Any other duty: no rule of slashing, but fence and grant all the same.
    Other,
}

/// One placement asks for one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The key to sign with.
    pub public_key: PublicKey,
    /// The node of the certificate.
    pub node_id: NodeId,
    /// The fence of the certificate.
    pub fence: Fence,
    /// What is to be signed.
    pub message: Message,
    /// The signing root, recomputed here.
    pub root: Root,
}
