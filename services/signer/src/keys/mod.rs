//! Keys that come: out of keystores of their owners, and new ones.
//!
//! A key out of a keystore gets a row that signs nothing, then its record in
//! Vault, then its row as it is to be; a new key gets its record first, since
//! without its row it is nothing. So whoever is killed between, the same
//! request again goes on and ends right.

mod custody;
mod import;
mod protection;

pub use custody::{Withdrawal, disable, enable};
pub use import::{Import, Imported};
pub use protection::Extent;

use crate::domain::{Address, PublicKey, SigningKey, Validator, derive};
use crate::keyring::{KeyError, Keyring};
use berth_core::{AccountId, Error, Result, report};
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Keystores opened at once; each may take 512 MiB.
const OPENED_AT_ONCE: usize = 2;
/// Keys written to Vault at once.
const STORED_AT_ONCE: usize = 16;

/// Takes keys and makes them. One for all listeners of a process.
#[derive(Debug, Clone)]
pub struct Keys {
    db: PgPool,
    keyring: Arc<Keyring>,
    opening: Arc<Semaphore>,
}

/// What the owner of a validator wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// The one address that a registration may name.
    pub fee_recipient: Option<Address>,
    /// The highest gas limit that a registration may name; 0 for none at all.
    pub gas_limit: u64,
}

impl Keys {
    /// Keys of the validators in a database, held in a keyring.
    #[must_use]
    pub fn new(db: PgPool, keyring: Arc<Keyring>) -> Self {
        Self {
            db,
            keyring,
            opening: Arc::new(Semaphore::new(OPENED_AT_ONCE)),
        }
    }

    /// Makes new keys, in Vault and known to nobody yet.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`]; then none was made.
    pub async fn make(&self, count: usize) -> Result<Vec<PublicKey>> {
        let keys = (0..count).map(|_| derive::generate());
        let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(Error::internal)?;
        let made: Vec<_> = keys.iter().map(SigningKey::public_key).collect();
        let stored: Result<Vec<_>, KeyError> = futures::stream::iter(keys)
            .map(async |key| self.keyring.store(&key).await)
            .buffer_unordered(STORED_AT_ONCE)
            .try_collect()
            .await;
        match stored {
            Ok(_) => Ok(made),
            Err(error) => {
                self.discard(&made).await;
                Err(Error::unavailable(error))
            }
        }
    }

    /// Destroys the key of a validator that is removed; nothing there is fine.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`]; the same again ends it.
    pub async fn destroy(&self, key: &PublicKey) -> Result<()> {
        match self.keyring.remove(key).await {
            // That one is not ours.
            Ok(()) | Err(KeyError::AnotherDatabase(_)) => Ok(()),
            Err(
                error @ (KeyError::Missing
                | KeyError::Withdrawn
                | KeyError::Damaged(_)
                | KeyError::Vault(_)),
            ) => Err(Error::unavailable(error)),
        }
    }

    /// Destroys keys that nobody knows, as far as Vault lets us: one that stays
    /// has no row, and nobody ever signs with it.
    pub async fn discard(&self, keys: &[PublicKey]) {
        for key in keys {
            if let Err(error) = self.keyring.remove(key).await {
                tracing::info!(validator = %key, error = report(&error), "a key that nobody knows stays in Vault");
            }
        }
    }

    /// The key of a validator.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when this process cannot hold it.
    pub async fn get(&self, key: &PublicKey) -> Result<Arc<SigningKey>> {
        match self.keyring.obtain(key).await {
            Ok(key) => Ok(key),
            Err(KeyError::Vault(error)) => Err(Error::unavailable(error)),
            Err(
                error @ (KeyError::Missing
                | KeyError::Withdrawn
                | KeyError::Damaged(_)
                | KeyError::AnotherDatabase(_)),
            ) => Err(Error::precondition(
                "KEY_NOT_LOADED",
                format!("{key}: {error}"),
            )),
        }
    }
}

impl Wish {
    /// The validator, as wanted.
    #[must_use]
    pub fn of(self, validator: Validator) -> Validator {
        Validator {
            fee_recipient: self.fee_recipient,
            gas_limit: self.gas_limit,
            ..validator
        }
    }
}

/// A statement that custody rests on; who called stands in the gateway's audit
/// log.
fn state_fresh(account: AccountId, key: &PublicKey) {
    tracing::info!(
        %account,
        validator = %key,
        "its owner states that the key is used nowhere else"
    );
}
