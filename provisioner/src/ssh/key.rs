//! A pinned host key: the whole key, or its fingerprint.

use crate::error::Error;
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{HashAlg, PublicKey};
use std::fmt;
use std::str::FromStr;

/// The key that a machine must show.
///
/// Reads and prints an OpenSSH public key line (`ssh-ed25519 AAAA…`) or a
/// fingerprint (`SHA256:…`). A fingerprint is compared with the key that the
/// machine prefers to show, which is its ed25519 key where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKey {
    /// The whole key.
    Key(PublicKey),
    /// SHA-256 over the key.
    Fingerprint(Fingerprint),
}

impl HostKey {
    /// `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Key(key) => key.fingerprint(HashAlg::Sha256),
            Self::Fingerprint(fingerprint) => *fingerprint,
        }
    }
}

impl FromStr for HostKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let parsed = if text.starts_with("SHA256:") {
            text.parse().map(Self::Fingerprint)
        } else {
            PublicKey::from_openssh(text).map(Self::Key)
        };
        parsed.map_err(|_| {
            Error::invalid(
                "the host key",
                "expected `ssh-ed25519 AAAA…` or `SHA256:…`, as `ssh-keygen -lf` prints it",
            )
        })
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(&key.to_openssh().map_err(|_| fmt::Error)?),
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
        }
    }
}
