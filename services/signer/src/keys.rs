//! Keys that come: out of keystores of their owners, and new ones.
//!
//! A key out of a keystore gets a row that signs nothing, then its record in
//! Vault, then its row as it is to be; a new key gets its record first, since
//! without its row it is nothing. So whoever is killed between, the same
//! request again goes on and ends right.

use crate::domain::keystore::{Keystore, KeystoreError};
use crate::domain::validator::{Event, Past, State};
use crate::domain::{Address, Chain, PublicKey, SigningKey, Validator, Watermarks, derive};
use crate::keyring::{KeyError, Keyring};
use crate::store::{history, validators};
use berth_core::{AccountId, Error, Result, report};
use berth_runtime::pg;
use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

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

/// What comes with keystores.
#[derive(Debug, Clone)]
pub struct Import {
    /// Whose they are.
    pub account_id: AccountId,
    /// The request that brings them.
    pub request_id: Uuid,
    /// The network that they sign for.
    pub chain: Chain,
    /// What they signed, of an interchange.
    pub interchange: BTreeMap<PublicKey, Watermarks>,
    /// Their owner states that they were never used and are used nowhere else.
    pub fresh: bool,
    /// What their owner wants of them.
    pub wish: Wish,
}

/// What the owner of a validator wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// The one address that a registration may name.
    pub fee_recipient: Option<Address>,
    /// The highest gas limit that a registration may name; 0 for none at all.
    pub gas_limit: u64,
}

/// What became of a keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// Its key is here now.
    New(PublicKey),
    /// Its key was here before.
    Duplicate(PublicKey),
    /// It was not taken.
    Refused {
        /// Where it could be read.
        public_key: Option<PublicKey>,
        /// Why, for people.
        problem: String,
    },
}

impl Imported {
    /// A keystore that was not taken.
    pub fn refused(public_key: Option<PublicKey>, problem: impl ToString) -> Self {
        Self::Refused {
            public_key,
            problem: problem.to_string(),
        }
    }
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

    /// Takes the key out of a keystore. What is wrong with it alone is an
    /// answer, not an error.
    ///
    /// # Errors
    ///
    /// Those of database and Vault; the same request again goes on.
    pub async fn import(
        &self,
        import: &Import,
        keystore: Keystore,
        password: SecretString,
    ) -> Result<Imported> {
        let said = keystore.public_key;
        // To open it takes long: not again where this request did so already.
        if let Some(key) = said
            && self.brought(import, &key).await?
        {
            return Ok(Imported::New(key));
        }
        let key = match self.open(keystore, password).await? {
            Ok(key) => key,
            Err(problem) => return Ok(Imported::refused(said, problem)),
        };
        let public_key = key.public_key();
        if let Some(answer) = self.begin(import, &public_key).await? {
            return Ok(answer);
        }
        match self.keyring.store(key).await {
            Ok(_) => self.finish(import, &public_key).await,
            Err(error @ (KeyError::AnotherDatabase(_) | KeyError::Damaged(_))) => {
                Ok(Imported::refused(Some(public_key), error))
            }
            Err(error @ (KeyError::Missing | KeyError::Vault(_))) => Err(Error::unavailable(error)),
        }
    }

    async fn brought(&self, import: &Import, key: &PublicKey) -> Result<bool> {
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        match validators::get(&mut conn, import.account_id, key).await {
            Ok(validator) => Ok(validator.request_id == Some(import.request_id)),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn open(
        &self,
        keystore: Keystore,
        password: SecretString,
    ) -> Result<Result<SigningKey, KeystoreError>> {
        let permit = Arc::clone(&self.opening).acquire_owned().await;
        let permit = permit.map_err(Error::internal)?;
        let open = move || {
            // Kept until it is done, also when nobody waits for it any more.
            let _permit = permit;
            keystore.open(password.expose_secret())
        };
        tokio::task::spawn_blocking(open)
            .await
            .map_err(Error::internal)
    }

    /// The row of a key that signs nothing yet, and its watermarks. An answer
    /// where nothing is left to do.
    async fn begin(&self, import: &Import, key: &PublicKey) -> Result<Option<Imported>> {
        let refused = |problem: String| Ok(Some(Imported::refused(Some(*key), problem)));
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        let (account, chain) = (import.account_id, &import.chain.name);
        let Some(known) = validators::open(&mut txn, account, chain, key).await? else {
            return refused("this signer does not take the key".to_owned());
        };
        if known.chain != *chain {
            return refused(format!("it is a validator of chain `{}`", known.chain));
        }
        if known.state == State::Removed {
            return refused("it was removed, and does not come back".to_owned());
        }
        if let Some(watermarks) = import.interchange.get(key) {
            let imported = BTreeMap::from([(*key, *watermarks)]);
            history::raise(&mut txn, account, chain, &imported).await?;
        }
        txn.commit().await.map_err(pg::error)?;
        Ok(outcome(import, &known))
    }

    /// The row of a key that is in Vault, as it is to be.
    async fn finish(&self, import: &Import, key: &PublicKey) -> Result<Imported> {
        let past = if import.fresh {
            Past::Fresh
        } else if import.interchange.contains_key(key) {
            Past::Imported
        } else {
            Past::Unknown
        };
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        let before = validators::lock(&mut txn, import.account_id, key).await?;
        // Another request, or another copy of this one, was faster.
        if let Some(answer) = outcome(import, &before) {
            return Ok(answer);
        }
        let after = import.wish.of(before.held(import.request_id, past)?);
        validators::save(&mut txn, &before, &after).await?;
        txn.commit().await.map_err(pg::error)?;
        if import.fresh {
            state_fresh(import.account_id, key);
        }
        Ok(Imported::New(*key))
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
            .map(|key| self.keyring.store(key))
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
                error @ (KeyError::Missing | KeyError::Damaged(_) | KeyError::AnotherDatabase(_)),
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

/// Which request brought the key of a row; `None` while it is not in Vault.
fn outcome(import: &Import, known: &Validator) -> Option<Imported> {
    let key = known.public_key;
    known.request_id.map(|brought| {
        if brought == import.request_id {
            Imported::New(key)
        } else {
            Imported::Duplicate(key)
        }
    })
}

/// Lets an event happen to a validator of the account, in the caller's
/// transaction. From the commit of [`Event::Disable`] on nothing is signed.
///
/// # Errors
///
/// [`Error::NotFound`] also for another account's, [`Error::Precondition`] when
/// its state forbids it.
pub async fn apply(
    conn: &mut PgConnection,
    account: AccountId,
    key: &PublicKey,
    event: Event,
) -> Result<Validator> {
    let before = validators::lock(conn, account, key).await?;
    let after = before.apply(event)?;
    validators::save(conn, &before, &after).await?;
    if event == Event::EnableFresh {
        state_fresh(account, key);
    }
    Ok(after)
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
