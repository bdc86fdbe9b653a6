//! Public keys and roots: fixed numbers of bytes that people read as hex.

use std::fmt;
use std::str::FromStr;

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
    /// An address of the execution layer.
    Address,
    20
);
