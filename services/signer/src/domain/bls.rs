//! Keys and signatures of Ethereum's consensus: BLS12-381, public keys in G1.

use super::{PublicKey, Root, Signature};
use blst::BLST_ERROR;
use blst::min_pk;
use std::fmt;
use zeroize::Zeroizing;

/// Ethereum's ciphersuite, with proofs of possession.
const SUITE: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// Not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Zero, not below the order of the group, or not 32 bytes.
    #[error("not a BLS secret key")]
    Secret,
    /// Not a point of the group, or infinity.
    #[error("not a BLS public key")]
    Public,
}

/// A key that signs; wiped when dropped. Boxed, so that a move copies a pointer
/// and leaves no second copy of the key behind.
pub struct SigningKey(Box<min_pk::SecretKey>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(REDACTED)")
    }
}

impl SigningKey {
    /// From 32 bytes, big-endian.
    ///
    /// # Errors
    ///
    /// [`BadKey::Secret`] for zero, for what is not below the order of the
    /// group and for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        min_pk::SecretKey::from_bytes(bytes)
            .map(|key| Self(Box::new(key)))
            .map_err(|_| BadKey::Secret)
    }

    /// The 32 bytes, to be sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk().compress())
    }

    /// Signs a root. Takes about 0.4 ms of one core.
    #[must_use]
    pub fn sign(&self, root: &Root) -> Signature {
        Signature(self.0.sign(&root.0, SUITE, &[]).compress())
    }

    /// The master key of a seed (EIP-2333).
    pub(super) fn master(seed: &[u8]) -> Result<Self, BadKey> {
        min_pk::SecretKey::derive_master_eip2333(seed)
            .map(|key| Self(Box::new(key)))
            .map_err(|_| BadKey::Secret)
    }

    /// The key below this one (EIP-2333).
    pub(super) fn child(&self, index: u32) -> Self {
        Self(Box::new(self.0.derive_child_eip2333(index)))
    }
}

impl PublicKey {
    /// That it is on the curve, in the group and not infinity.
    ///
    /// # Errors
    ///
    /// [`BadKey::Public`] when it is not.
    pub fn validate(&self) -> Result<(), BadKey> {
        min_pk::PublicKey::key_validate(&self.0)
            .map(|_| ())
            .map_err(|_| BadKey::Public)
    }

    /// Whether a signature is this key's over the root.
    #[must_use]
    pub fn signed(&self, root: &Root, signature: &Signature) -> bool {
        let Ok(key) = min_pk::PublicKey::key_validate(&self.0) else {
            return false;
        };
        min_pk::Signature::sig_validate(&signature.0, false).is_ok_and(|signature| {
            signature.verify(false, &root.0, SUITE, &[], &key, false) == BLST_ERROR::BLST_SUCCESS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> SigningKey {
        let mut bytes = [0; 32];
        bytes[31] = last;
        SigningKey::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn a_signature_is_one_keys_over_one_root() {
        let signature = key(1).sign(&Root([7; 32]));
        assert!(key(1).public_key().signed(&Root([7; 32]), &signature));
        assert!(!key(1).public_key().signed(&Root([8; 32]), &signature));
        assert!(!key(2).public_key().signed(&Root([7; 32]), &signature));
        assert!(
            !key(1)
                .public_key()
                .signed(&Root([7; 32]), &Signature([0; 96]))
        );
    }

    #[test]
    fn zero_the_order_of_the_group_and_other_lengths_are_no_keys() {
        let order = hex::decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001");
        for bytes in [
            vec![0; 32],
            order.unwrap(),
            vec![1; 31],
            vec![1; 33],
            vec![],
        ] {
            assert_eq!(
                SigningKey::from_bytes(&bytes).map(|_| ()),
                Err(BadKey::Secret),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn infinity_and_what_is_not_on_the_curve_are_no_public_keys() {
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        for bytes in [infinity, [0; 48], [0xff; 48]] {
            assert_eq!(PublicKey(bytes).validate(), Err(BadKey::Public));
        }
        assert_eq!(key(1).public_key().validate(), Ok(()));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", key(1)), "SigningKey(REDACTED)");
    }
}
