//! Queries for the roster: what is read of every validator, and the health of
//! the database that it is read from.

use crate::domain::eth::Policy;
use crate::domain::validator::State;
use crate::domain::{Address, Chain, PublicKey};
use berth_core::{AccountId, NodeId, Result};
use berth_runtime::pg;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

/// Notified when a chain or a validator comes, when the forks of a chain change,
/// and when the state, the node or the policy of a validator does.
pub const CHANNEL: &str = "berth_validators";

/// What the roster knows of a validator.
#[derive(Debug)]
pub struct Row {
    /// Whose it is.
    pub account_id: AccountId,
    /// Name of its chain.
    pub chain: String,
    /// The node that signs with it.
    pub node_id: Option<NodeId>,
    /// Where it is in its life.
    pub state: State,
    /// Up to which withdrawal its key is released.
    pub released: i64,
    /// Its key, and what its owner allows.
    pub policy: Policy,
}

/// All chains.
///
/// # Errors
///
/// Those of the database.
pub async fn chains(conn: &mut PgConnection) -> Result<Vec<Chain>> {
    sqlx::query_as("select * from chain")
        .fetch_all(conn)
        .await
        .map_err(pg::error)
}

/// All validators whose keys are not destroyed, by key. Without those whose keys
/// are on their way to Vault: nobody need look for these.
///
/// # Errors
///
/// Those of the database.
pub async fn validators(conn: &mut PgConnection) -> Result<Vec<Row>> {
    let rows = sqlx::query(
        "select public_key, account_id, chain, node_id, state, released,
                fee_recipient, gas_limit
         from validator
         where state <> 'removed' and (state <> 'quarantined' or request_id is not null)
         order by public_key",
    )
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    let validators: sqlx::Result<_> = rows.iter().map(validator).collect();
    validators.map_err(pg::error)
}

/// The highest slot of a block and the highest target of a vote, of all
/// validators.
///
/// # Errors
///
/// Those of the database.
pub async fn high_watermark(conn: &mut PgConnection) -> Result<(Option<i64>, Option<i64>)> {
    sqlx::query_as("select max(block_slot), max(target_epoch) from validator")
        .fetch_one(conn)
        .await
        .map_err(pg::error)
}

/// That the database answers.
///
/// # Errors
///
/// When it does not.
pub async fn answers(conn: &mut PgConnection) -> Result<()> {
    let asked = sqlx::query("select 1").execute(conn).await;
    asked.map(|_| ()).map_err(pg::error)
}

fn validator(row: &PgRow) -> sqlx::Result<Row> {
    let public_key: &[u8] = row.try_get("public_key")?;
    let fee_recipient: Option<&[u8]> = row.try_get("fee_recipient")?;
    let fee_recipient = fee_recipient.map(Address::try_from);
    let gas_limit: i64 = row.try_get("gas_limit")?;
    Ok(Row {
        account_id: row.try_get("account_id")?,
        chain: row.try_get("chain")?,
        node_id: row.try_get("node_id")?,
        state: row.try_get("state")?,
        released: row.try_get("released")?,
        policy: Policy {
            public_key: PublicKey::try_from(public_key).map_err(wrong)?,
            fee_recipient: fee_recipient.transpose().map_err(wrong)?,
            gas_limit: u64::try_from(gas_limit).map_err(wrong)?,
        },
    })
}

fn wrong(problem: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}
