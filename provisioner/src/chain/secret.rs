//! The secrets that a node needs besides validator keys, which never come here.

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde::Deserialize;

/// How a secret is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// `node_key.json` of CometBFT: an Ed25519 key that is the node's P2P identity.
    CometbftNodeKey,
    /// 32 random bytes as 64 hex digits, such as the engine API's JWT secret.
    Hex32,
    /// 43 letters, digits, `-` and `_` that hold 256 random bits.
    Password,
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes could be had")]
pub struct NoEntropy;

impl SecretKind {
    /// Makes a new secret, as its file holds it.
    ///
    /// # Errors
    ///
    /// [`NoEntropy`] when the operating system gives no random bytes.
    pub fn generate(self) -> Result<SecretString, NoEntropy> {
        let mut seed = [0u8; 32];
        rand::fill(&mut seed).map_err(|_| NoEntropy)?;
        Ok(match self {
            Self::CometbftNodeKey => cometbft_node_key(&seed)?,
            Self::Hex32 => hex::encode(seed),
            Self::Password => URL_SAFE_NO_PAD.encode(seed),
        }
        .into())
    }
}

/// CometBFT keeps the seed followed by the public key.
fn cometbft_node_key(seed: &[u8; 32]) -> Result<String, NoEntropy> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoEntropy)?;
    let key = STANDARD.encode([seed, pair.public_key().as_ref()].concat());
    Ok(format!(
        r#"{{"priv_key":{{"type":"tendermint/PrivKeyEd25519","value":"{key}"}}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn two_secrets_of_a_kind_differ_and_have_their_shape() {
        for kind in [
            SecretKind::CometbftNodeKey,
            SecretKind::Hex32,
            SecretKind::Password,
        ] {
            let (a, b) = (kind.generate().unwrap(), kind.generate().unwrap());
            assert_ne!(a.expose_secret(), b.expose_secret());
        }
        let hex = SecretKind::Hex32.generate().unwrap();
        assert_eq!(hex::decode(hex.expose_secret()).unwrap().len(), 32);
    }

    #[test]
    fn a_node_key_is_the_seed_followed_by_its_public_key() {
        let json = cometbft_node_key(&[7; 32]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["priv_key"]["type"], "tendermint/PrivKeyEd25519");
        let key = STANDARD
            .decode(json["priv_key"]["value"].as_str().unwrap())
            .unwrap();
        assert_eq!((key.len(), &key[..32]), (64, &[7u8; 32][..]));
        assert_eq!(
            hex::encode(&key[32..]),
            "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        );
    }
}
