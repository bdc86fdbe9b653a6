//! The pinned key of a machine's sshd: the whole key, or its fingerprint until
//! the key was seen.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Longest line that is read.
const MAX: usize = 4096;
/// Kinds of keys that OpenSSH still accepts for hosts.
const KINDS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

/// `ssh-ed25519 AAAA...` without a comment, or `SHA256:...`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct HostKey(String);

/// The text was neither a key nor a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseHostKeyError;

impl fmt::Display for ParseHostKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected an OpenSSH public key line such as `ssh-ed25519 AAAA...` or a fingerprint \
             such as `SHA256:...`; `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the \
             machine prints it",
        )
    }
}

impl HostKey {
    /// The fingerprint, as OpenSSH prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self.blob() {
            Some(blob) => format!(
                "SHA256:{}",
                BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob))
            ),
            None => self.0.clone(),
        }
    }

    /// Whether both name the same key.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }

    /// Whether the whole key is known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.blob().is_some()
    }

    fn blob(&self) -> Option<Vec<u8>> {
        let (_, encoded) = self.0.split_once(' ')?;
        BASE64_STANDARD.decode(encoded).ok()
    }
}

impl FromStr for HostKey {
    type Err = ParseHostKeyError;

    fn from_str(text: &str) -> Result<Self, ParseHostKeyError> {
        if text.len() > MAX {
            return Err(ParseHostKeyError);
        }
        if let Some(digest) = text.strip_prefix("SHA256:") {
            let digest = digest.trim_end_matches('=');
            return match BASE64_STANDARD_NO_PAD.decode(digest) {
                Ok(bytes) if bytes.len() == 32 => Ok(Self(format!("SHA256:{digest}"))),
                _ => Err(ParseHostKeyError),
            };
        }
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return Err(ParseHostKeyError);
        };
        let blob = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| ParseHostKeyError)?;
        if KINDS.contains(&kind) && inner_kind(&blob) == Some(kind.as_bytes()) {
            Ok(Self(format!("{kind} {encoded}")))
        } else {
            Err(ParseHostKeyError)
        }
    }
}

/// The kind that the key itself names in its first field.
fn inner_kind(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    // A kind and nothing after it is no key.
    rest.get(..length).filter(|_| rest.len() > length)
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Made by ssh-keygen, which printed the fingerprint too.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy1CS6YST1nzzIrugSy+k4EuO3HCFajimiQ+zegrpr8";
    const FINGERPRINT: &str = "SHA256:ma75pPsnLPi65QKAW+qKiUw+CyyqXr5Enp6PIE1c7/k";

    #[test]
    fn a_key_has_the_fingerprint_that_openssh_prints() {
        let key: HostKey = format!("{LINE} root@m1").parse().unwrap();
        assert_eq!(key.to_string(), LINE);
        assert_eq!(key.fingerprint(), FINGERPRINT);
        let pinned: HostKey = FINGERPRINT.parse().unwrap();
        assert!(pinned.is_same_key(&key) && key.is_whole() && !pinned.is_whole());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let other_kind = LINE.replace("ssh-ed25519", "ssh-rsa");
        for text in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!",
            "ssh-dss AAAA",
            "SHA256:",
            "SHA256:AAAA",
            "MD5:00:11",
            &other_kind,
            &"x".repeat(5000),
        ] {
            assert_eq!(text.parse::<HostKey>(), Err(ParseHostKeyError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(ssh-ed25519 |SHA256:)?.{0,80}") {
            if let Ok(key) = text.parse::<HostKey>() {
                prop_assert_eq!(key.to_string().parse(), Ok(key));
            }
        }
    }
}
