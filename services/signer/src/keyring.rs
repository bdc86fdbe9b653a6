//! The keys in memory, and how they are kept in Vault: one record a validator,
//! `{ database_id, ciphertext }`, encrypted by a key that Vault does not give
//! away and bound to the database and the public key.
//!
//! A key here gives no permission: the validator's row does. A record names the
//! one database whose signers may hold the key, so that two signers on two
//! databases cannot both sign with it. Nor is a key held that its owner withdrew
//! ([`crate::withdrawals`]).

use crate::domain::{PublicKey, SigningKey};
use crate::withdrawals::{Withdrawals, Withdrawn};
use berth_core::report;
use berth_secrets::{SignerPath, Vault};
use futures::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How many records are asked for at once.
const LOADS_AT_ONCE: usize = 16;

/// Why a key cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Vault has no record of it.
    #[error("Vault has no record of the key: import it again")]
    Missing,
    /// Signers on another database hold it.
    #[error("the key belongs to the signers on database {0}: remove it there first")]
    AnotherDatabase(String),
    /// Its owner withdrew it, and its row does not say so.
    #[error(
        "its owner withdrew the key, which this database does not know: disable it, or enable \
         it again where it is used nowhere else"
    )]
    Withdrawn,
    /// Its record is not one that a signer wrote.
    #[error("the record of the key is damaged: {0}")]
    Damaged(String),
    /// Vault did not answer, or refused.
    #[error(transparent)]
    Vault(#[from] berth_secrets::Error),
}

/// What became of a key to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is here now.
    New,
    /// It was here before.
    Already,
}

/// Keys of validators, each with the number of the withdrawal up to which it is
/// released.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// Those that should be here.
    pub held: BTreeMap<PublicKey, i64>,
    /// Those of which Vault should know that they are withdrawn.
    pub withdrawn: BTreeMap<PublicKey, i64>,
}

/// How many of the keys that should be here are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many should be.
    pub expected: usize,
    /// How many are.
    pub loaded: usize,
    /// Why the others are not.
    pub problems: BTreeMap<PublicKey, KeyError>,
}

/// The keys that this process can sign with.
#[derive(Debug)]
pub struct Keyring {
    vault: Vault,
    database_id: Uuid,
    withdrawals: Withdrawals,
    keys: RwLock<HashMap<PublicKey, Arc<SigningKey>>>,
    report: RwLock<Arc<Report>>,
}

impl Keyring {
    /// An empty one, for the signers on one database.
    #[must_use]
    pub fn new(vault: Vault, database_id: Uuid) -> Self {
        Self {
            withdrawals: Withdrawals::new(vault.clone(), database_id),
            vault,
            database_id,
            keys: RwLock::default(),
            report: RwLock::default(),
        }
    }

    /// The key, where it is loaded.
    #[must_use]
    pub fn get(&self, public_key: &PublicKey) -> Option<Arc<SigningKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(public_key).map(Arc::clone)
    }

    /// What owners withdrew of these keys.
    #[must_use]
    pub const fn withdrawals(&self) -> &Withdrawals {
        &self.withdrawals
    }

    /// The key for one use, out of Vault where it is not held here.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub async fn obtain(&self, public_key: &PublicKey) -> Result<Arc<SigningKey>, KeyError> {
        match self.get(public_key) {
            Some(key) => Ok(key),
            None => Ok(Arc::new(self.read(public_key).await?)),
        }
    }

    /// What the last [`Self::load`] found.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads those that are expected and not here yet and drops all others. One
    /// that cannot be loaded is reported and stops no other; a Vault that does
    /// not answer stops the rest until the next load.
    pub async fn load(&self, expected: &Expected) -> Arc<Report> {
        let problems = match self.withdrawals.all().await {
            Ok(known) => {
                self.remember(&expected.withdrawn, &known).await;
                self.load_released(&expected.held, &known).await
            }
            Err(error) => {
                let all = expected.held.keys().copied().collect();
                let absent = self.keep_only(&all).into_iter();
                absent.map(|key| (key, error.clone().into())).collect()
            }
        };
        let report = Arc::new(Report {
            expected: expected.held.len(),
            loaded: expected.held.len() - problems.len(),
            problems,
        });
        let mut last = self.report.write().unwrap_or_else(PoisonError::into_inner);
        *last = Arc::clone(&report);
        report
    }

    /// Remembers withdrawals that Vault does not know, because it was away.
    async fn remember(&self, withdrawn: &BTreeMap<PublicKey, i64>, known: &Withdrawn) {
        let unknown = withdrawn
            .iter()
            .filter(|(key, released)| known.get(key).is_none_or(|number| number <= released));
        for (key, released) in unknown {
            let number = released.saturating_add(1);
            if let Err(error) = self.withdrawals.remember(key, number).await {
                tracing::info!(validator = %key, error = report(&error), "Vault does not know yet that the key is withdrawn");
                return;
            }
        }
    }

    /// Holds those that are not withdrawn, and no others. Returns why not all.
    async fn load_released(
        &self,
        expected: &BTreeMap<PublicKey, i64>,
        known: &Withdrawn,
    ) -> BTreeMap<PublicKey, KeyError> {
        let (mut problems, mut permitted) = (BTreeMap::new(), BTreeSet::new());
        for (key, released) in expected {
            if known.get(key).is_some_and(|number| number > released) {
                problems.insert(*key, KeyError::Withdrawn);
            } else {
                permitted.insert(*key);
            }
        }
        let mut waiting = self.keep_only(&permitted);
        let mut outcomes = futures::stream::iter(waiting.clone())
            .map(|key| async move { (key, self.read(&key).await) })
            .buffer_unordered(LOADS_AT_ONCE);
        while let Some((public_key, outcome)) = outcomes.next().await {
            match outcome {
                Ok(key) => self.hold(key),
                Err(error) if stops_all(&error) => {
                    problems.extend(waiting.into_iter().map(|key| (key, error.clone())));
                    break;
                }
                Err(error) => {
                    problems.insert(public_key, error);
                }
            }
            waiting.remove(&public_key);
        }
        problems
    }

    /// Stores a key in Vault unless it is there. Repeats of it, and several
    /// replicas at once, end with one record. It is held from the next
    /// [`Self::load`] that expects it on, which asks for withdrawals first.
    ///
    /// # Errors
    ///
    /// [`KeyError::AnotherDatabase`] when signers on another database hold it.
    pub async fn store(&self, key: &SigningKey) -> Result<Stored, KeyError> {
        let public_key = key.public_key();
        let ciphertext = self
            .vault
            .encrypt(&*key.to_bytes(), &self.bound_to(&public_key))
            .await?;
        let fields = BTreeMap::from([
            ("database_id".to_owned(), self.database_id.to_string()),
            ("ciphertext".to_owned(), ciphertext),
        ]);
        let path = SignerPath::validator(&public_key.0);
        Ok(match self.vault.write_record(&path, &fields, 0).await? {
            Some(_) => Stored::New,
            None => {
                self.read(&public_key).await?;
                Stored::Already
            }
        })
    }

    /// Destroys a key in Vault and forgets it here; nothing there is fine. The
    /// other replicas forget it at their next load.
    ///
    /// # Errors
    ///
    /// [`KeyError::AnotherDatabase`] when signers on another database hold it.
    pub async fn remove(&self, public_key: &PublicKey) -> Result<(), KeyError> {
        match self.ciphertext(public_key).await {
            // A damaged record of our own is of no use to anybody.
            Ok(_) | Err(KeyError::Damaged(_)) => {
                let path = SignerPath::validator(&public_key.0);
                self.vault.destroy_record(&path).await?;
            }
            Err(KeyError::Missing) => {}
            Err(
                error @ (KeyError::AnotherDatabase(_) | KeyError::Withdrawn | KeyError::Vault(_)),
            ) => return Err(error),
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.remove(public_key);
        Ok(())
    }

    /// Drops what is not expected and returns what is not here.
    fn keep_only(&self, expected: &BTreeSet<PublicKey>) -> BTreeSet<PublicKey> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key, _| expected.contains(key));
        let absent = expected.iter().filter(|key| !keys.contains_key(key));
        absent.copied().collect()
    }

    fn hold(&self, key: SigningKey) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.public_key(), Arc::new(key));
    }

    /// The key of a record.
    async fn read(&self, public_key: &PublicKey) -> Result<SigningKey, KeyError> {
        let ciphertext = self.ciphertext(public_key).await?;
        let secret: Zeroizing<Vec<u8>> = self
            .vault
            .decrypt(&ciphertext, &self.bound_to(public_key))
            .await
            .map_err(damaged)?;
        SigningKey::from_bytes(&secret)
            .ok()
            .filter(|key| key.public_key() == *public_key)
            .ok_or_else(|| KeyError::Damaged("it holds another key".to_owned()))
    }

    /// The ciphertext of a record that is of this database.
    async fn ciphertext(&self, public_key: &PublicKey) -> Result<String, KeyError> {
        let path = SignerPath::validator(&public_key.0);
        let record = self.vault.read_record(&path).await.map_err(damaged)?;
        let mut fields = record.ok_or(KeyError::Missing)?.fields;
        let missing = |field| KeyError::Damaged(format!("it has no {field}"));
        let database_id = fields
            .remove("database_id")
            .ok_or_else(|| missing("database_id"))?;
        if database_id != self.database_id.to_string() {
            return Err(KeyError::AnotherDatabase(database_id));
        }
        fields
            .remove("ciphertext")
            .ok_or_else(|| missing("ciphertext"))
    }

    /// What a ciphertext is bound to.
    fn bound_to(&self, public_key: &PublicKey) -> String {
        format!("{}/{public_key}", self.database_id)
    }
}

/// What Vault says of one record alone.
fn damaged(error: berth_secrets::Error) -> KeyError {
    use berth_secrets::Error;
    match error {
        Error::Invalid { problem, .. } => KeyError::Damaged(problem),
        Error::Answer { .. } => KeyError::Damaged("it is not a record".to_owned()),
        other @ (Error::Sealed { .. }
        | Error::Unreachable { .. }
        | Error::Untrusted { .. }
        | Error::Busy { .. }
        | Error::LoginRefused { .. }
        | Error::Denied { .. }
        | Error::NotFound { .. }
        | Error::File { .. }
        | Error::Start { .. }) => KeyError::Vault(other),
    }
}

/// Whether no other key would fare better now.
fn stops_all(error: &KeyError) -> bool {
    use berth_secrets::Error;
    matches!(
        error,
        KeyError::Vault(
            Error::Sealed { .. }
                | Error::Unreachable { .. }
                | Error::Untrusted { .. }
                | Error::LoginRefused { .. }
                | Error::File { .. }
        )
    )
}
