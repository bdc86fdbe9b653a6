//! Owners stop keys and let them sign again. What they withdrew stands in Vault
//! before it stands in the database: see [`crate::withdrawals`].

use super::{Keys, state_fresh};
use crate::domain::validator::{Event, State};
use crate::domain::{PublicKey, Validator};
use crate::store::validators;
use berth_core::{AccountId, Error, Resource, Result};
use berth_runtime::pg;
use sqlx::PgConnection;

/// A withdrawal on its way into the database.
#[derive(Debug)]
pub struct Withdrawal {
    number: i64,
    /// Whether it was withdrawn before, which its row does not know: what it
    /// signed may have been given away then.
    before: bool,
    remembered: Result<()>,
}

impl Withdrawal {
    /// To be asked after the commit: a key is silenced though Vault is away.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when Vault does not know it yet; the same again
    /// tells it.
    pub fn remembered(self) -> Result<()> {
        self.remembered
    }
}

impl Keys {
    /// Remembers that its owner withdraws a key, where that is still to be done;
    /// nothing for a request that `repeats` and whose key was enabled since.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] also for another account's, those of the database.
    pub async fn withdraw(
        &self,
        account: AccountId,
        key: &PublicKey,
        repeats: bool,
    ) -> Result<Withdrawal> {
        let known = self.known(account, key).await?;
        let number = known.released.saturating_add(1);
        let withdraws = match known.state {
            State::Active => !repeats,
            State::Disabled => true,
            State::Quarantined | State::Removed => false,
        };
        let written = if withdraws {
            self.keyring.withdrawals().remember(key, number).await
        } else {
            Ok(true)
        };
        Ok(Withdrawal {
            number,
            before: known.state == State::Active && matches!(written, Ok(false)),
            remembered: written.map(drop).map_err(Error::unavailable),
        })
    }

    /// Up to which withdrawal a key is released that its owner enables now.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] also for another account's, those of database and
    /// Vault.
    pub async fn release(&self, account: AccountId, key: &PublicKey) -> Result<i64> {
        let known = self.known(account, key).await?;
        let withdrawals = self.keyring.withdrawals();
        if known.state == State::Disabled {
            // So that nobody who still remembers it for us does so too late.
            let number = known.released.saturating_add(1);
            let written = withdrawals.remember(key, number).await;
            written.map_err(Error::unavailable)?;
        }
        let all = withdrawals.all().await.map_err(Error::unavailable)?;
        Ok(all.get(key).copied().unwrap_or_default())
    }

    /// Stops signing with a key of the account.
    ///
    /// # Errors
    ///
    /// As [`disable`]; [`Error::Unavailable`] when it is silent and Vault does
    /// not know it yet.
    pub async fn disable(&self, account: AccountId, key: &PublicKey) -> Result<()> {
        let withdrawal = self.withdraw(account, key, false).await?;
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        disable(&mut txn, account, key, &withdrawal).await?;
        txn.commit().await.map_err(pg::error)?;
        withdrawal.remembered()
    }

    async fn known(&self, account: AccountId, key: &PublicKey) -> Result<Validator> {
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        validators::get(&mut conn, account, key).await
    }
}

/// Silences a validator in the caller's transaction. From its commit on nothing
/// is signed.
///
/// # Errors
///
/// [`Error::NotFound`] also for another account's, [`Error::Precondition`] when
/// its state forbids it, [`Error::Conflict`] when it was enabled meanwhile.
pub async fn disable(
    conn: &mut PgConnection,
    account: AccountId,
    key: &PublicKey,
    withdrawal: &Withdrawal,
) -> Result<Validator> {
    let before = validators::lock(conn, account, key).await?;
    let after = Validator {
        exported: before.exported || withdrawal.before,
        ..before.apply(Event::Disable)?
    };
    if before.state == State::Active && before.released >= withdrawal.number {
        return Err(Error::Conflict {
            resource: Resource::Validator,
        });
    }
    validators::save(conn, &before, &after).await?;
    Ok(after)
}

/// Lets a validator sign again in the caller's transaction, whatever was
/// withdrawn up to `released`.
///
/// # Errors
///
/// [`Error::NotFound`] also for another account's, [`Error::Precondition`] when
/// its state forbids it.
pub async fn enable(
    conn: &mut PgConnection,
    account: AccountId,
    key: &PublicKey,
    event: Event,
    released: i64,
) -> Result<Validator> {
    let before = validators::lock(conn, account, key).await?;
    if event == Event::Enable {
        before.remembers(released)?;
    }
    let after = Validator {
        released: released.max(before.released),
        ..before.apply(event)?
    };
    validators::save(conn, &before, &after).await?;
    if event == Event::EnableFresh {
        state_fresh(account, key);
    }
    Ok(after)
}
