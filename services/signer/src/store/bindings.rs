//! Which validators a node has. The node first, then validators in the order of
//! their keys, as everything here locks them.

use super::fences;
use super::validators::bytes;
use crate::domain::validator::State;
use crate::domain::{PublicKey, Validator};
use berth_core::{AccountId, Error, Fence, NodeId, Resource, Result};
use berth_runtime::pg;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// The validators that a node is to have.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The node.
    pub node_id: NodeId,
    /// Who owns the node, and must own the validators.
    pub account_id: AccountId,
    /// The chain of the node, and of the validators.
    pub chain: String,
    /// The fence of the placement that they are for.
    pub fence: Fence,
    /// The validators, all of them.
    pub public_keys: Vec<PublicKey>,
}

/// Gives a node these validators and no others, in the caller's transaction.
/// New ones sign under the node's fence, and may where the placement of the
/// caller's fence may.
///
/// # Errors
///
/// [`Error::Fenced`] below the node's fence, [`Error::NotFound`] for a node or a
/// validator of another account, [`Error::Precondition`] for a validator that
/// cannot sign there.
pub async fn bind(conn: &mut PgConnection, binding: &Binding) -> Result<()> {
    let node = fences::hold(conn, binding.account_id, binding.node_id, binding.fence).await?;
    let found = lock(conn, binding).await?;
    for key in &binding.public_keys {
        match found.get(key) {
            Some(validator) => judge(binding, validator)?,
            None => return Err(Error::not_found(Resource::Validator, key)),
        }
    }
    let keys = bytes(&binding.public_keys);
    sqlx::query(
        "update validator set node_id = null, fence = 0, granted = false
         where node_id = $1 and public_key <> all($2)",
    )
    .bind(binding.node_id)
    .bind(&keys)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    sqlx::query(
        "update validator set node_id = $1, fence = $3, granted = $4
         where public_key = any($2) and node_id is null",
    )
    .bind(binding.node_id)
    .bind(&keys)
    .bind(node.fence)
    .bind(node.granted && node.fence == binding.fence)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Those named and those that the node has, locked.
async fn lock(
    conn: &mut PgConnection,
    binding: &Binding,
) -> Result<BTreeMap<PublicKey, Validator>> {
    let found: Vec<Validator> = sqlx::query_as(
        "select * from validator
         where account_id = $1 and (public_key = any($2) or node_id = $3)
         order by public_key for update",
    )
    .bind(binding.account_id)
    .bind(bytes(&binding.public_keys))
    .bind(binding.node_id)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    let keyed = found.into_iter().map(|one| (one.public_key, one));
    Ok(keyed.collect())
}

/// That a validator can be the node's.
fn judge(binding: &Binding, validator: &Validator) -> Result<()> {
    let key = validator.public_key;
    let refused = |reason, why| Err(Error::precondition(reason, why));
    if validator.chain != binding.chain {
        let chain = &validator.chain;
        return refused(
            "VALIDATOR_CHAIN",
            format!("{key} is a validator of chain `{chain}`"),
        );
    }
    if let Some(node) = validator.node_id.filter(|node| *node != binding.node_id) {
        return refused("VALIDATOR_BOUND", format!("{key} is a validator of {node}"));
    }
    match validator.state {
        State::Quarantined | State::Active | State::Disabled => Ok(()),
        State::Removed => refused("VALIDATOR_STATE", format!("{key} is REMOVED")),
    }
}
