//! Keys out of keystores. What is wrong with one keystore stops no other.

use super::{Keys, Wish, state_fresh};
use crate::anchor::ceiling;
use crate::domain::keystore::{Keystore, KeystoreError};
use crate::domain::validator::{Past, State};
use crate::domain::{Chain, PublicKey, SigningKey, Validator, Watermarks};
use crate::keyring::{KeyError, Stored};
use crate::store::{history, validators};
use berth_core::{AccountId, Error, Result};
use berth_runtime::pg;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Why the key of a removed validator is not taken.
const REMOVED: &str = "it was removed, and does not come back";

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

impl Import {
    /// Whether the interchange says what the key voted for. One that names it
    /// with nothing, or with blocks alone, says nothing about votes.
    #[must_use]
    pub fn covers(&self, key: &PublicKey) -> bool {
        let past = self.interchange.get(key);
        past.is_some_and(|past| past.vote.is_some())
    }

    /// The highest that signers on this database may have signed with a key.
    fn may_have_signed(&self, key: PublicKey) -> BTreeMap<PublicKey, Watermarks> {
        let now = berth_core::now().timestamp().unsigned_abs();
        let highest = ceiling(&self.chain, now);
        let watermarks = Watermarks {
            block: Some(highest.slot.unsigned_abs()),
            vote: Some((highest.source.unsigned_abs(), highest.target.unsigned_abs())),
            ..Watermarks::default()
        };
        BTreeMap::from([(key, watermarks)])
    }
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
        match self.keyring.store(&key).await {
            Ok(stored) => self.finish(import, &public_key, stored).await,
            Err(error @ (KeyError::AnotherDatabase(_) | KeyError::Damaged(_))) => {
                Ok(Imported::refused(Some(public_key), error))
            }
            Err(error @ (KeyError::Missing | KeyError::Withdrawn | KeyError::Vault(_))) => {
                Err(Error::unavailable(error))
            }
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
            return refused(REMOVED.to_owned());
        }
        if let Some(watermarks) = import.interchange.get(key) {
            let imported = BTreeMap::from([(*key, *watermarks)]);
            history::raise(&mut txn, account, chain, &imported).await?;
        }
        txn.commit().await.map_err(pg::error)?;
        Ok(outcome(import, &known))
    }

    /// The row of a key that is in Vault, as it is to be.
    async fn finish(&self, import: &Import, key: &PublicKey, stored: Stored) -> Result<Imported> {
        let past = if import.fresh {
            Past::Fresh
        } else if import.covers(key) {
            Past::Imported
        } else {
            Past::Unknown
        };
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        let before = validators::lock(&mut txn, import.account_id, key).await?;
        if before.state == State::Removed {
            drop(txn);
            self.destroy(key).await?;
            return Ok(Imported::refused(Some(*key), REMOVED));
        }
        // Another request, or another copy of this one, was faster.
        if let Some(answer) = outcome(import, &before) {
            return Ok(answer);
        }
        if stored == Stored::Already {
            // Of an import that was cut off, or of a row that a restored
            // database lost: then it may have signed until now.
            let highest = import.may_have_signed(*key);
            history::raise(&mut txn, import.account_id, &import.chain.name, &highest).await?;
        }
        let after = import
            .wish
            .of(before.held(import.request_id, past, berth_core::now())?);
        validators::save(&mut txn, &before, &after).await?;
        txn.commit().await.map_err(pg::error)?;
        if import.fresh {
            state_fresh(import.account_id, key);
        }
        Ok(Imported::New(*key))
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
