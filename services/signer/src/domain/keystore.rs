//! EIP-2335 keystores: a signing key under a password, in JSON.
//!
//! A keystore comes from anybody. What it may cost to open is bounded before
//! anything is computed. Deliberately absent: writing one, as no key leaves.

use super::{PublicKey, SigningKey};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::num::NonZeroU32;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// The longest text that is read; real ones have 600 to 1000 bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Memory that scrypt may take: twice what EIP-2335 names.
const MAX_MEMORY: u128 = 512 << 20;
/// Work of scrypt, n × r × p: four times what EIP-2335 names.
const MAX_WORK: u128 = 1 << 23;
/// Rounds of PBKDF2: sixteen times what EIP-2335 names.
const MAX_ROUNDS: u32 = 1 << 22;
const SCRYPT_BOUNDS: &str = "kdf.params n, r and p must be those of scrypt, n a power of two, within \
                             512 MiB of memory and n × r × p of 2^23";
/// Bytes that both functions derive: a key for the cipher and one for the
/// checksum.
const DERIVED: usize = 32;

/// A keystore of version 4, not opened yet.
#[derive(Debug, Clone)]
pub struct Keystore {
    crypto: Crypto,
    /// What it says its public key is; not proven until it is opened.
    pub public_key: Option<PublicKey>,
}

/// Why a keystore gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Not JSON, too long, a field is missing or has another form.
    #[error("not an EIP-2335 keystore: {0}")]
    Malformed(String),
    /// Another version.
    #[error("keystore version {0} is not supported, only version 4 (EIP-2335)")]
    Version(u64),
    /// A parameter that no honest tool writes.
    #[error("the keystore's {0}")]
    Parameter(&'static str),
    /// The checksum differs.
    #[error("the password is wrong, or the keystore is damaged")]
    Password,
    /// What it holds is no key.
    #[error("the keystore holds no BLS secret key")]
    NoKey,
    /// It holds the key of another public key than it says.
    #[error("the keystore says it is for {said} but holds the key of {held}")]
    AnotherKey {
        /// What it says.
        said: PublicKey,
        /// What it holds.
        held: PublicKey,
    },
}

#[derive(Deserialize)]
struct File {
    crypto: Crypto,
    #[serde(default)]
    pubkey: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Crypto {
    kdf: Kdf,
    checksum: Checksum,
    cipher: Cipher,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "function", content = "params", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: usize,
        n: u64,
        r: u32,
        p: u32,
        salt: Bytes,
    },
    Pbkdf2 {
        dklen: usize,
        c: u32,
        #[expect(
            dead_code,
            reason = "there is one; another is refused while it is read"
        )]
        prf: Prf,
        salt: Bytes,
    },
}

#[derive(Debug, Clone, Deserialize)]
enum Prf {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

#[derive(Debug, Clone, Deserialize)]
struct Checksum {
    #[expect(
        dead_code,
        reason = "there is one; another is refused while it is read"
    )]
    function: ChecksumFunction,
    message: Bytes,
}

#[derive(Debug, Clone, Deserialize)]
enum ChecksumFunction {
    #[serde(rename = "sha256")]
    Sha256,
}

#[derive(Debug, Clone, Deserialize)]
struct Cipher {
    #[serde(flatten)]
    function: CipherFunction,
    message: Bytes,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "function", content = "params")]
enum CipherFunction {
    #[serde(rename = "aes-128-ctr")]
    Aes128Ctr { iv: Bytes },
}

/// Bytes in hex, without `0x`.
#[derive(Debug, Clone)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

impl Keystore {
    /// Reads a keystore from its text.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Malformed`] or [`KeystoreError::Version`].
    pub fn parse(text: &str) -> Result<Self, KeystoreError> {
        if text.len() > MAX_TEXT {
            return Err(KeystoreError::Malformed("longer than 16 KiB".to_owned()));
        }
        Self::from_json(serde_json::from_str(text).map_err(malformed)?)
    }

    /// Takes a keystore that is a part of a larger document.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn from_json(json: Value) -> Result<Self, KeystoreError> {
        match json.get("version").and_then(Value::as_u64) {
            Some(4) => {}
            Some(version) => return Err(KeystoreError::Version(version)),
            None => return Err(KeystoreError::Malformed("it has no version".to_owned())),
        }
        let file: File = serde_json::from_value(json).map_err(malformed)?;
        let public_key = match file.pubkey.as_str() {
            "" => None,
            text => Some(text.parse().map_err(malformed)?),
        };
        Ok(Self {
            crypto: file.crypto,
            public_key,
        })
    }

    /// Takes the key out. This needs up to 512 MiB of memory and seconds of one
    /// core: never many at once, and never on a thread that serves.
    ///
    /// # Errors
    ///
    /// Any other [`KeystoreError`]; a wrong password is told from a bad file.
    pub fn open(&self, password: &str) -> Result<SigningKey, KeystoreError> {
        let CipherFunction::Aes128Ctr { iv } = &self.crypto.cipher.function;
        let Ok(iv) = <&[u8; 16]>::try_from(iv.0.as_slice()) else {
            return Err(KeystoreError::Parameter(
                "cipher.params.iv must be 16 bytes",
            ));
        };
        let message = &self.crypto.cipher.message.0;
        if message.len() != 32 {
            return Err(KeystoreError::Parameter("cipher.message must be 32 bytes"));
        }
        let derived = self.crypto.kdf.derive(&encoded(password))?;
        let (cipher_key, checksum_key) = derived.split_at(DERIVED / 2);
        let checksum = Sha256::new()
            .chain_update(checksum_key)
            .chain_update(message)
            .finalize();
        if checksum.as_slice() != self.crypto.checksum.message.0 {
            return Err(KeystoreError::Password);
        }
        let secret = decrypt(cipher_key, iv, message).ok_or(KeystoreError::NoKey)?;
        let key = SigningKey::from_bytes(&secret).map_err(|_| KeystoreError::NoKey)?;
        let held = key.public_key();
        match self.public_key {
            Some(said) if said != held => Err(KeystoreError::AnotherKey { said, held }),
            Some(_) | None => Ok(key),
        }
    }
}

impl Kdf {
    fn derive(&self, password: &[u8]) -> Result<Zeroizing<[u8; DERIVED]>, KeystoreError> {
        let refused = |what| Err(KeystoreError::Parameter(what));
        let (Self::Scrypt { dklen, .. } | Self::Pbkdf2 { dklen, .. }) = self;
        if *dklen != DERIVED {
            return refused("kdf.params.dklen must be 32");
        }
        let mut key = Zeroizing::new([0; DERIVED]);
        match self {
            Self::Scrypt { n, r, p, salt, .. } => {
                let Some(params) = bounded(*n, *r, *p) else {
                    return refused(SCRYPT_BOUNDS);
                };
                if scrypt::scrypt(password, &salt.0, &params, &mut *key).is_err() {
                    return refused(SCRYPT_BOUNDS);
                }
            }
            Self::Pbkdf2 { c, salt, .. } => {
                let rounds = NonZeroU32::new(*c).filter(|c| c.get() <= MAX_ROUNDS);
                let Some(rounds) = rounds else {
                    return refused("kdf.params.c must be 1 to 2^22");
                };
                let function = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::derive(function, rounds, &salt.0, password, &mut *key);
            }
        }
        Ok(key)
    }
}

/// Parameters of scrypt, where they are valid and cost no more than we spend.
fn bounded(n: u64, r: u32, p: u32) -> Option<scrypt::Params> {
    let log_n = u8::try_from(n.checked_ilog2()?).ok()?;
    let cost = {
        let (n, r, p) = (u128::from(n), u128::from(r), u128::from(p));
        128 * r * (n + p + 1) <= MAX_MEMORY && n * r * p <= MAX_WORK
    };
    let params = || scrypt::Params::new(log_n, r, p).ok();
    (n.is_power_of_two() && cost).then(params).flatten()
}

fn decrypt(key: &[u8], iv: &[u8; 16], message: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut secret = Zeroizing::new(message.to_vec());
    let key = UnboundCipherKey::new(&AES_128, key).ok()?;
    let iv = DecryptionContext::Iv128(FixedLength::from(iv));
    DecryptingKey::ctr(key)
        .ok()?
        .decrypt(&mut secret, iv)
        .ok()?;
    Some(secret)
}

/// The password as EIP-2335 hashes it: NFKD, without control codes, in UTF-8.
fn encoded(password: &str) -> Zeroizing<Vec<u8>> {
    // C0, C1 and delete are exactly what Unicode calls control.
    let kept = password.nfkd().filter(|c| !c.is_control());
    // Sized beforehand: a buffer that grows leaves copies behind.
    let mut encoded = Zeroizing::new(Vec::with_capacity(kept.clone().map(char::len_utf8).sum()));
    for c in kept {
        encoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    encoded
}

/// What a parser says may quote what it read.
fn malformed(error: impl std::fmt::Display) -> KeystoreError {
    KeystoreError::Malformed(error.to_string().chars().take(200).collect())
}
