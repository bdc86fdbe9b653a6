//! What is signed for an object: its root, mixed with what the signature is for.

use crate::domain::{Chain, ForkVersion, Root};
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

/// What a signature is for, so that it fits nothing else.
pub(super) type DomainType = [u8; 4];

#[derive(TreeHash)]
struct ForkData {
    current_version: ForkVersion,
    genesis_validators_root: Root,
}

#[derive(TreeHash)]
struct SigningData {
    object_root: Root,
    domain: Root,
}

impl Chain {
    /// The root that is signed for an object of this chain, under one of its versions.
    pub(super) fn signing_root(
        &self,
        object: Root,
        purpose: DomainType,
        version: ForkVersion,
    ) -> Root {
        signing_root(object, purpose, version, self.genesis_validators_root)
    }

    /// The root that is signed for what stands outside of every chain: deposits
    /// and registrations.
    pub(super) fn chainless_root(&self, object: Root, purpose: DomainType) -> Root {
        signing_root(object, purpose, self.forks.genesis().version, Root([0; 32]))
    }
}

fn signing_root(
    object_root: Root,
    purpose: DomainType,
    current_version: ForkVersion,
    genesis_validators_root: Root,
) -> Root {
    let fork = ForkData {
        current_version,
        genesis_validators_root,
    };
    let mut domain = fork.tree_hash_root().0;
    domain.copy_within(..28, 4);
    domain[..4].copy_from_slice(&purpose);
    let domain = Root(domain);
    SigningData {
        object_root,
        domain,
    }
    .tree_hash_root()
    .into()
}
