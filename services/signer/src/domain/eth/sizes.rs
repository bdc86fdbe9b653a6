//! The sizes that differ between mainnet and minimal, as types.

use std::fmt::Debug;
use typenum::{U4, U8, U32, U64, U128, U512, U8192, U131072, Unsigned};

/// The sizes of a preset.
pub(super) trait Sizes: Clone + Debug + PartialEq + 'static {
    /// The other preset: to tell a foreign request from a malformed one.
    type Other: Sizes;
    /// Bits of a sync committee.
    type SyncCommittee: Unsigned + Clone + Debug + PartialEq;
    /// Bits of a sync subcommittee.
    type SyncSubcommittee: Unsigned + Clone + Debug + PartialEq;
    /// Committees of a slot.
    type Committees: Unsigned + Clone + Debug + PartialEq;
    /// Most validators that attest in a slot.
    type SlotValidators: Unsigned + Clone + Debug + PartialEq;
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mainnet;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Minimal;

impl Sizes for Mainnet {
    type Other = Minimal;
    type SyncCommittee = U512;
    type SyncSubcommittee = U128;
    type Committees = U64;
    type SlotValidators = U131072;
}

impl Sizes for Minimal {
    type Other = Mainnet;
    type SyncCommittee = U32;
    type SyncSubcommittee = U8;
    type Committees = U4;
    type SlotValidators = U8192;
}
