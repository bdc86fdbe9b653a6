//! New keys: derived from a seed as EIP-2333 and EIP-2334 say, so that a public
//! specification tells how they came to be. The seed is used for one key and
//! forgotten: a key is never shown, so there is nothing to write down.

use super::SigningKey;
use super::bls::BadKey;
use zeroize::Zeroizing;

/// Path of a signing key (EIP-2334): purpose, coin, account, use, signing.
const PATH: [u32; 5] = [12381, 3600, 0, 0, 0];

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine gives no random bytes")]
pub struct NoRandomness;

/// A new signing key.
///
/// # Errors
///
/// [`NoRandomness`].
pub fn generate() -> Result<SigningKey, NoRandomness> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *seed).map_err(|_| NoRandomness)?;
    derive(&*seed, &PATH).map_err(|_| NoRandomness)
}

/// The key of a seed at a path.
///
/// # Errors
///
/// [`BadKey::Secret`] when the seed has less than 32 bytes.
pub fn derive(seed: &[u8], path: &[u32]) -> Result<SigningKey, BadKey> {
    let master = SigningKey::master(seed)?;
    Ok(path.iter().fold(master, |key, &index| key.child(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_key_is_another() {
        let key = || generate().unwrap().public_key();
        assert_ne!(key(), key());
    }

    #[test]
    fn a_short_seed_gives_no_key() {
        assert_eq!(derive(&[1; 31], &[]).map(|_| ()), Err(BadKey::Secret));
    }

    #[test]
    fn a_key_derives_as_the_specification_says() {
        // Of EIP-2333's own first case.
        let seed = hex::decode(
            "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e\
             1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
        );
        let child = derive(&seed.unwrap(), &[0]).unwrap();
        assert_eq!(
            hex::encode(*child.to_bytes()),
            "2d18bd6c14e6d15bf8b5085c9b74f3daae3b03cc2014770a599d8c1539e50f8e"
        );
    }
}
