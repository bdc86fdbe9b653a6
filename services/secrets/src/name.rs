//! Names that become part of a path in Vault or of a certificate: parsed
//! before use, so that none can reach another path.

use std::fmt;

use crate::{Error, Result};

/// The longest name accepted.
const MAX_NAME: usize = 64;

/// Where a secret is kept: `nodes/<node id>/<name>` or `webhooks/<webhook id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretPath(String);

impl SecretPath {
    /// The path of the secret `name` of the node `node_id`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless both are 1 to 64 characters of letters,
    /// digits, `-`, `_` and `.`, starting with a letter or digit.
    pub fn node(node_id: &str, name: &str) -> Result<Self> {
        let (node, name) = (segment("node id", node_id)?, segment("secret name", name)?);
        Ok(Self(format!("nodes/{node}/{name}")))
    }

    /// The path of the key of a webhook's signatures.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the id is one as for [`Self::node`].
    pub fn webhook(webhook_id: &str) -> Result<Self> {
        let webhook = segment("webhook id", webhook_id)?;
        Ok(Self(format!("webhooks/{webhook}")))
    }

    /// The path of the id that leasing's database has, too. It stands where leasing
    /// keeps what it has of webhooks, none of which is called so.
    #[must_use]
    pub fn leasing_database() -> Self {
        Self("webhooks/database".to_owned())
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `value` if it can stand as one segment of a path, else why not.
pub(crate) fn segment<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphanumeric());
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if starts_well && value.len() <= MAX_NAME && value.chars().all(known) {
        return Ok(value);
    }
    Err(Error::invalid(
        field,
        "must be 1 to 64 letters, digits, '-', '_' or '.', starting with a letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_and_name_make_a_path() {
        let path = SecretPath::node("01890a5d-ac96-774b-bcce-b302099a8057", "p2p-key");
        assert_eq!(
            path.unwrap().to_string(),
            "nodes/01890a5d-ac96-774b-bcce-b302099a8057/p2p-key"
        );
    }

    #[test]
    fn no_name_reaches_another_path() {
        let long = "a".repeat(MAX_NAME + 1);
        let hostile = [
            "", ".", "..", "../x", "a/b", "/a", "a/", "a b", "a\n", "a%2f", "%2e%2e", "a?x=1",
            "a#b", "+", "*", "-a", "é", "a\0", &long,
        ];
        for name in hostile {
            assert!(SecretPath::node("n1", name).is_err(), "{name:?} as a name");
            assert!(SecretPath::node(name, "n").is_err(), "{name:?} as an id");
            assert!(SecretPath::webhook(name).is_err(), "{name:?} as a webhook");
        }
    }
}
