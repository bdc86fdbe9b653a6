//! Public keys, signatures and roots: fixed numbers of bytes that people read as hex.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use tree_hash::{Hash256, PackedEncoding, TreeHash, TreeHashType};

/// A text that is not the hex form of so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `0x` and {0} hex digits")]
pub struct NotHex(usize);

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotHex;

            /// With or without `0x`, in either case.
            fn from_str(text: &str) -> Result<Self, NotHex> {
                let mut bytes = [0; $length];
                let digits = text.strip_prefix("0x").unwrap_or(text);
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotHex($length * 2))?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = NotHex;

            fn try_from(bytes: &[u8]) -> Result<Self, NotHex> {
                bytes.try_into().map(Self).map_err(|_| NotHex($length * 2))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl TreeHash for $name {
            fn tree_hash_type() -> TreeHashType {
                TreeHashType::Vector
            }

            fn tree_hash_packed_encoding(&self) -> PackedEncoding {
                unreachable!("vectors are never packed")
            }

            fn tree_hash_packing_factor() -> usize {
                unreachable!("vectors are never packed")
            }

            fn tree_hash_root(&self) -> Hash256 {
                self.0.tree_hash_root()
            }
        }
    };
}

bytes!(
    /// A BLS public key, compressed.
    PublicKey,
    48
);
bytes!(
    /// A hash tree root, such as a signing root.
    Root,
    32
);
bytes!(
    /// A BLS signature, compressed.
    Signature,
    96
);
bytes!(
    /// An address of the execution layer.
    Address,
    20
);
bytes!(
    /// The version of a fork, part of every domain.
    ForkVersion,
    4
);

impl From<Hash256> for Root {
    fn from(hash: Hash256) -> Self {
        Self(hash.0)
    }
}
