//! What owners withdrew, remembered in Vault, outside of the database: a backup
//! of the database that is restored does not know what they decided after it.
//!
//! Each key counts its withdrawals, from 1; that what a silent key signed is given
//! away counts as one more. Withdrawal *n* is a record of its own
//! that is created once, and that not even the signer can change or delete. The
//! row of a validator is *released* up to a number. One rule decides: **while
//! Vault knows a withdrawal above what the row is released to, no signer holds
//! the key**, and `berth-signer reanchor` makes the row DISABLED.
//!
//! It is right whenever a process is killed, since nothing is ever undone:
//!
//! * To disable is to write withdrawal `released + 1`, then to commit DISABLED.
//!   Killed between the two: the row says ACTIVE, and no signer holds the key.
//! * To enable is to read the highest withdrawal, then to commit ACTIVE together
//!   with `released` set to it. One commit, nothing is written to Vault.
//! * An older row is released up to a lower number, and so its key is not held.
//! * To export is to commit the next number as *noted*, then to write it, then to
//!   answer. A row enables a key without a word of its owner only while Vault
//!   knows nothing above what the row noted.
//! * A withdrawal that is written again, or late, is the one that is there: its
//!   number comes from the row, and a row is released only up to what Vault has.
//!
//! While Vault is away the row alone becomes DISABLED, since nothing may keep an
//! owner from stopping a key. The call fails then, and the withdrawal follows
//! once Vault is back (`Keyring::load`).

use crate::domain::PublicKey;
use berth_secrets::{Error, SignerPath, Vault};
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Withdrawals written to Vault at once.
const WRITES_AT_ONCE: usize = 16;

/// The withdrawals of the keys of one database.
#[derive(Debug, Clone)]
pub struct Withdrawals {
    vault: Vault,
    database_id: Uuid,
}

/// The highest withdrawal of each key that was ever withdrawn.
pub type Withdrawn = HashMap<PublicKey, i64>;

impl Withdrawals {
    /// Those of the keys of a database.
    #[must_use]
    pub const fn new(vault: Vault, database_id: Uuid) -> Self {
        Self { vault, database_id }
    }

    /// Remembers the withdrawal of that number; one that is there already is
    /// the same. Whether it was not.
    ///
    /// # Errors
    ///
    /// As Vault answers.
    pub async fn remember(&self, key: &PublicKey, number: i64) -> Result<bool, Error> {
        let path = SignerPath::withdrawal(self.database_id, &key.0, number);
        // Its name says everything.
        let written = self.vault.write_record(&path, &BTreeMap::new(), 0).await;
        Ok(written?.is_some())
    }

    /// The same for several keys at once.
    ///
    /// # Errors
    ///
    /// [`berth_core::Error::Unavailable`]; then some may be remembered.
    pub async fn remember_all(&self, numbers: &[(PublicKey, i64)]) -> berth_core::Result<()> {
        futures::stream::iter(numbers.to_vec())
            .map(async |(key, number)| self.remember(&key, number).await)
            .buffer_unordered(WRITES_AT_ONCE)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await
            .map_err(berth_core::Error::unavailable)
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// As Vault answers.
    pub async fn all(&self) -> Result<Withdrawn, Error> {
        let folder = SignerPath::withdrawals(self.database_id);
        let mut all = Withdrawn::new();
        for name in self.vault.list_records(&folder).await? {
            if let Some((key, number)) = parse(&name) {
                let highest = all.entry(key).or_default();
                *highest = number.max(*highest);
            }
        }
        Ok(all)
    }
}

/// The key and the number in the name of a record.
fn parse(name: &str) -> Option<(PublicKey, i64)> {
    let (key, number) = name.split_once('.')?;
    Some((key.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_record_says_which_key_and_which_withdrawal() {
        let key = PublicKey([7; 48]);
        let path = SignerPath::withdrawal(Uuid::nil(), &key.0, 12).to_string();
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(parse(name), Some((key, 12)));
        assert_eq!(parse("7.1"), None);
    }
}
