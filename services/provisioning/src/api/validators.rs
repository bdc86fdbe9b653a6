//! The validators of a node that is to be launched: whether they can sign there.

use super::{Api, convert};
use crate::domain::{NewNode, Role};
use crate::others::Signer;
use berth_core::{Error, Result, Violations};
use berth_proto::signing::v1::validator_status::State;
use berth_provisioner::chain::ChainEntry;
use futures::future::join_all;

/// How many validators are asked for at once.
const AT_ONCE: usize = 16;

/// Whether a node's validators are such that it can be launched: those of the
/// role VALIDATOR are with the signer, and no other role has any.
pub(super) async fn check(api: &Api, entry: &ChainEntry, node: &NewNode) -> Result<()> {
    if node.role != Role::Validator {
        if node.validators.is_empty() {
            return Ok(());
        }
        let problem = "are for nodes of the role VALIDATOR";
        return Err(Error::invalid("spec.validators", problem));
    }
    let refuse = |why| Err(Error::precondition("ROLE_NOT_AVAILABLE", why));
    if !convert::signs(entry) {
        return refuse(
            "validators of this chain keep their keys on the machine, which this Berth does not \
             do; launch another role",
        );
    }
    let Some(signer) = &api.others.signer else {
        return refuse(
            "validators sign through a signer, and this Berth has none; launch role FULL",
        );
    };
    entry
        .signing()
        .map_err(|why| Error::precondition("CHAIN_NOT_LAUNCHABLE", why))?;
    if node.validators.is_empty() {
        let problem = "is required: import keys or make new ones, and name their public keys";
        return Err(Error::invalid("spec.validators", problem));
    }
    ask(signer, node).await
}

/// Asks the signer for each, and tells of all that cannot sign there.
async fn ask(signer: &Signer, node: &NewNode) -> Result<()> {
    let mut wrong = Violations::default();
    for (chunk, keys) in node.validators.chunks(AT_ONCE).enumerate() {
        let problems = join_all(keys.iter().map(|key| problem(signer, node, key))).await;
        for (i, problem) in problems.into_iter().enumerate() {
            if let Some(problem) = problem? {
                let field = format!("spec.validators[{}]", chunk * AT_ONCE + i);
                wrong.add(field, problem);
            }
        }
    }
    wrong.finish(Some(()))
}

/// Why a validator cannot sign on a new node of a chain.
async fn problem(signer: &Signer, node: &NewNode, key: &str) -> Result<Option<String>> {
    let found = match signer.validator(node.account_id, key).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => {
            return Ok(Some("is not with the signer; import its key".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let spec = found.spec.unwrap_or_default();
    let status = found.status.unwrap_or_default();
    Ok(if spec.chain != node.chain_id {
        Some(format!("is a validator of chain `{}`", spec.chain))
    } else if status.state() == State::Removed {
        Some("was removed, and its key with it".to_owned())
    } else if status.node_id.is_empty() {
        None
    } else {
        Some(format!(
            "signs on {}; retire that node first",
            status.node_id
        ))
    })
}
