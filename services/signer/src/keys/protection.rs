//! What keys signed, given away as an interchange.

use super::Keys;
use crate::domain::interchange;
use crate::domain::validator::State;
use crate::domain::{Chain, PublicKey, Validator};
use crate::store::{history, validators};
use berth_core::{AccountId, Error, Result};
use berth_runtime::pg;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Most signatures of a complete file, some 27 MB of text: more than two years
/// of one validator. Older ones are below the watermarks, which every file has.
const MAX_SIGNATURES: usize = 200_000;

/// How much of the past a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The newest signatures, and the watermarks.
    Complete,
    /// The watermarks.
    Minified,
}

impl Keys {
    /// An interchange of validators of an account; of all that are silent when
    /// none is named. From now on they may sign elsewhere: their rows and Vault
    /// say so before this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when one of them may sign still,
    /// [`Error::NotFound`] for another account's, [`Error::Conflict`] when one
    /// changes meanwhile, [`Error::Unavailable`] while Vault is away.
    pub async fn export(
        &self,
        account: AccountId,
        chain: &Chain,
        keys: &[PublicKey],
        extent: Extent,
    ) -> Result<String> {
        // One picture: who is silent in it signed nothing that is not in it.
        let mut txn = history::picture(&self.db).await?;
        let silent = select(&mut txn, account, chain, keys).await?;
        let signed = match extent {
            Extent::Complete => {
                let each = MAX_SIGNATURES / silent.len().max(1);
                history::signed(&mut txn, silent.iter().map(|one| &one.public_key), each).await?
            }
            Extent::Minified => BTreeMap::new(),
        };
        txn.commit().await.map_err(pg::error)?;
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        let noted = validators::mark_exported(&mut txn, &silent).await?;
        txn.commit().await.map_err(pg::error)?;
        self.keyring.withdrawals().remember_all(&noted).await?;
        let known = silent.iter().map(|one| (one.public_key, one.watermarks));
        interchange::complete(chain.genesis_validators_root, &known.collect(), &signed)
    }
}

async fn select(
    conn: &mut PgConnection,
    account: AccountId,
    chain: &Chain,
    keys: &[PublicKey],
) -> Result<Vec<Validator>> {
    if keys.is_empty() {
        return validators::silent(conn, account, &chain.name).await;
    }
    let mut found = Vec::with_capacity(keys.len());
    let mut active = Vec::new();
    for key in keys {
        let one = validators::get(conn, account, key).await?;
        if one.chain != chain.name {
            return Err(Error::precondition(
                "VALIDATOR_CHAIN",
                format!("{key} is a validator of chain `{}`", one.chain),
            ));
        }
        match one.state {
            State::Disabled | State::Removed => found.push(one),
            State::Quarantined | State::Active => active.push(key.to_string()),
        }
    }
    if active.is_empty() {
        return Ok(found);
    }
    Err(Error::precondition(
        "VALIDATOR_ACTIVE",
        format!(
            "disable them first, so that nothing is signed after it: {}",
            active.join(", ")
        ),
    ))
}
