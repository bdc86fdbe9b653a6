//! What the chain knows of a validator, and exits that are handed to it: both
//! through the beacon API of the validator's own node.

use super::{Api, convert, logs, pb};
use crate::domain::{Node, OnChain, SignedExit, State, active_epochs, epoch_at, holds_exit};
use crate::reconcile::site_error;
use crate::{catalogue, store};
use berth_core::{AccountId, Error, NodeId, Result, Violations};
use berth_provisioner::chain::{ApiKind, ChainEntry, Pinned};
use berth_provisioner::docker::{Answered, Call};
use berth_runtime::once::{self, once};
use berth_runtime::{auth, pg};
use logs::Found;
use tonic::Request;

const VALIDATORS: &str = "/eth/v1/beacon/states/head/validators?id=";
const SPEC: &str = "/eth/v1/config/spec";
const EXITS: &str = "/eth/v1/beacon/pool/voluntary_exits";
/// Most characters of a refusal that are repeated.
const MAX_SAID: usize = 300;

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetValidatorOnChainRequest>,
) -> Result<pb::GetValidatorOnChainResponse> {
    let account = auth::account(&request)?;
    let public_key = convert::public_key("public_key", &request.get_ref().public_key)?;
    let beacon = Beacon::of(api, account, &public_key).await?;
    let known = beacon.look_up(&public_key).await?;
    Ok(pb::GetValidatorOnChainResponse {
        validator: Some(beacon.describe(&public_key, &known)),
    })
}

pub(super) async fn publish(
    api: &Api,
    request: Request<pb::PublishVoluntaryExitRequest>,
) -> Result<pb::PublishVoluntaryExitResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let mut wrong = Violations::default();
    wrong.absorb(once::check(&request.request_id))?;
    let public_key = convert::public_key("public_key", &request.public_key);
    let public_key = wrong.absorb(public_key)?;
    let exit = wrong.check("signed_exit", SignedExit::read(&request.signed_exit));
    let (public_key, exit) = wrong.finish(public_key.zip(exit))?;
    let beacon = Beacon::of(api, account, &public_key).await?;
    let known = beacon.look_up(&public_key).await?;
    let (index, signed) = (known.on_chain.index, exit.validator_index);
    if index != signed {
        let problem = format!("is of index {signed}, and the chain has this validator as {index}");
        return Err(Error::invalid("signed_exit", problem));
    }
    let node = beacon.node.id;
    let _: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |_| Ok(node),
    )
    .await?;
    beacon.hand_in(&public_key, &known, &exit).await?;
    tracing::warn!(%account, %node, validator = %public_key, index, "an exit was handed in");
    Ok(pb::PublishVoluntaryExitResponse {
        validator: Some(beacon.describe(&public_key, &known)),
    })
}

/// What the chain knows.
struct Known {
    on_chain: OnChain,
    /// Epochs of activity before it takes an exit.
    active_epochs: u64,
    /// The epoch now, by our clock.
    epoch: u64,
}

impl Known {
    /// First epoch at which the chain takes an exit of the validator.
    fn earliest(&self) -> Option<u64> {
        let since = self.on_chain.activation_epoch?;
        Some(since + self.active_epochs)
    }
}

/// The beacon API of a node that runs.
struct Beacon<'a> {
    api: &'a Api,
    node: Node,
    found: Found,
    port: u16,
    pinned: Pinned,
}

impl<'a> Beacon<'a> {
    /// That of the node to which a validator belongs.
    async fn of(api: &'a Api, account: AccountId, public_key: &str) -> Result<Self> {
        let mut conn = api.db.acquire().await.map_err(pg::error)?;
        let node = store::nodes::of_validator(&mut conn, account, public_key).await?;
        let Some(node) = node else {
            let why = "no node of yours has this validator; launch one with it, or go through any \
                       other beacon node of its chain";
            return Err(Error::precondition("VALIDATOR_UNBOUND", why));
        };
        let placement = store::placements::current(&mut conn, node.id).await?;
        let Some(placement) = placement.filter(|_| node.state == State::Running) else {
            let (name, state) = (&node.name, node.state);
            let why = format!("node `{name}` is {state}: only a RUNNING one is asked");
            return Err(Error::precondition("NODE_STATE", why));
        };
        let chain = store::chains::revision(&mut conn, &node.chain_id, node.chain_revision).await?;
        drop(conn);
        let entry = catalogue::entry(&chain)?;
        let (component, port) = port(&entry)?;
        let pinned = entry
            .signing()
            .map_err(|why| Error::precondition("CHAIN_NOT_LAUNCHABLE", why))?;
        let found = logs::find(api, &node, &placement, component).await?;
        Ok(Self {
            api,
            node,
            found,
            port,
            pinned,
        })
    }

    async fn call(&self, path: &str, body: Option<&str>) -> Result<Answered> {
        let port = self.port;
        let call = Call { port, path, body };
        let Found { at, whose, name } = &self.found;
        let answered = self.api.site.call(at, whose, name, call).await;
        answered.map_err(site_error)
    }

    async fn ask(&self, path: &str) -> Result<Vec<u8>> {
        let answered = self.call(path, None).await?;
        if answered.status == 200 {
            return Ok(answered.body);
        }
        let (name, status) = (&self.node.name, answered.status);
        let said = said(&answered.body);
        Err(misunderstood(&format!(
            "node `{name}` answered {status}: {said}"
        )))
    }

    async fn look_up(&self, public_key: &str) -> Result<Known> {
        let answer = self.ask(&format!("{VALIDATORS}{public_key}")).await?;
        let found = OnChain::read(&answer, public_key).map_err(|why| self.odd(&why))?;
        let Some(on_chain) = found else {
            let why = format!(
                "chain `{}` does not know this validator: its deposit is not made or not seen yet, \
                 or node `{}` has not come so far",
                self.node.chain_id, self.node.name
            );
            return Err(Error::precondition("NOT_ON_CHAIN", why));
        };
        let spec = self.ask(SPEC).await?;
        let now = berth_core::now().timestamp();
        Ok(Known {
            on_chain,
            active_epochs: active_epochs(&spec).map_err(|why| self.odd(&why))?,
            epoch: epoch_at(
                now,
                self.pinned.genesis_time,
                self.pinned.seconds_per_epoch(),
            ),
        })
    }

    fn odd(&self, why: &str) -> Error {
        misunderstood(&format!("node `{}`: {why}", self.node.name))
    }

    /// Posts an exit. That the network has it already is as good.
    async fn hand_in(&self, public_key: &str, known: &Known, exit: &SignedExit) -> Result<()> {
        if known.on_chain.standing.leaves() {
            return Ok(());
        }
        if let Some(earliest) = known.earliest().filter(|earliest| known.epoch < *earliest) {
            let why = format!(
                "the chain takes this exit from epoch {earliest} on, and it is epoch {}; hand it in \
                 again then",
                known.epoch
            );
            return Err(Error::precondition("EXIT_TOO_EARLY", why));
        }
        let answered = self.call(EXITS, Some(&exit.json())).await?;
        if (200..300).contains(&answered.status) {
            return Ok(());
        }
        // Some nodes refuse what they have.
        let pool = self.call(EXITS, None).await?;
        let waits = holds_exit(&pool.body, exit.validator_index);
        if waits || self.look_up(public_key).await?.on_chain.standing.leaves() {
            return Ok(());
        }
        let (name, status) = (&self.node.name, answered.status);
        let why = format!("node `{name}` answered {status}: {}", said(&answered.body));
        Err(Error::precondition("EXIT_REFUSED", why))
    }

    fn describe(&self, public_key: &str, known: &Known) -> pb::ValidatorOnChain {
        let Known {
            on_chain, epoch, ..
        } = known;
        pb::ValidatorOnChain {
            public_key: public_key.to_owned(),
            node_id: self.node.id.to_string(),
            index: on_chain.index,
            state: convert::standing(on_chain.standing).into(),
            balance_gwei: on_chain.balance,
            current_epoch: *epoch,
            earliest_exit_epoch: known.earliest(),
            exit_epoch: on_chain.exit_epoch,
            withdrawable_epoch: on_chain.withdrawable_epoch,
        }
    }
}

/// Component and port of the API that the entry names.
fn port(entry: &ChainEntry) -> Result<(&str, u16)> {
    let api = entry.api.as_ref().zip(entry.api_port());
    match api.map(|(api, port)| (api.kind, port)) {
        Some((ApiKind::EthereumBeacon, port)) => Ok((&port.component, port.number)),
        None => {
            let why = format!(
                "the entry of chain `{}` names no API of its nodes; go through another node of the \
                 chain",
                entry.name
            );
            Err(Error::precondition("NO_CHAIN_API", why))
        }
    }
}

fn misunderstood(why: &str) -> Error {
    Error::precondition("MACHINE_ERROR", why)
}

/// What a node said, as one short line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_SAID).collect()
}
