//! Between messages and domain values.

use super::pb;
use crate::domain::validator::State;
use crate::domain::{
    Address, Chain, Fork, ForkName, ForkVersion, PublicKey, Root, Schedule, Validator, Watermarks,
};
use crate::keys::{Imported, Wish};
use crate::store::bindings::Binding;
use berth_core::{Error, Fence, Name, Result, Violations};
use berth_runtime::wire;
use uuid::Uuid;

/// Most validators of a node.
const BOUND: usize = 1000;
/// Most keys of a request.
const KEYS: usize = 100;

/// A chain as provisioning pins it.
pub(super) fn chain(chain: Option<&pb::SigningChain>) -> Result<Chain> {
    let chain = wire::required("chain", chain)?;
    let mut violations = Violations::default();
    let name: Option<Name> = violations.absorb(wire::parse("chain.name", &chain.name))?;
    let root = Root::try_from(&chain.genesis_validators_root[..]);
    let root = violations.check("chain.genesis_validators_root", root);
    let preset = violations.absorb(wire::parse("chain.preset", &chain.preset))?;
    let forks = violations.check("chain.forks", forks(&chain.forks));
    number(&mut violations, "chain.genesis_time", chain.genesis_time);
    if !(1..=86_400).contains(&chain.seconds_per_slot) {
        violations.add("chain.seconds_per_slot", "must be from 1 to 86400");
    }
    let chain = || {
        Some(Chain {
            name: name?.to_string(),
            genesis_validators_root: root?,
            genesis_time: chain.genesis_time,
            seconds_per_slot: chain.seconds_per_slot,
            preset: preset?,
            forks: forks?,
        })
    };
    violations.finish(chain())
}

fn forks(forks: &[pb::SigningFork]) -> Result<Schedule, String> {
    let fork = |fork: &pb::SigningFork| {
        let name: ForkName = fork.name.parse().map_err(|_| {
            let name = &fork.name;
            format!("`{name}` is not the name of a fork that is known here")
        })?;
        let version = ForkVersion::try_from(&fork.version[..])
            .map_err(|_| format!("the version of {} must be 4 bytes", fork.name))?;
        Ok(Fork {
            name,
            epoch: fork.epoch,
            version,
        })
    };
    let forks: Vec<_> = forks.iter().map(fork).collect::<Result<_, String>>()?;
    Schedule::try_from(forks).map_err(|problem| problem.to_string())
}

/// Which validators a node is to have.
pub(super) fn binding(request: &pb::BindValidatorsRequest) -> Result<Binding> {
    let mut violations = Violations::default();
    let node_id = violations.absorb(wire::parse("node_id", &request.node_id))?;
    let account_id = violations.absorb(wire::parse("account_id", &request.account_id))?;
    let chain: Option<Name> = violations.absorb(wire::parse("chain", &request.chain))?;
    let fence = violations.absorb(fence(request.fence))?;
    let public_keys = public_keys(&mut violations, &request.public_keys, BOUND);
    let binding = || {
        Some(Binding {
            node_id: node_id?,
            account_id: account_id?,
            chain: chain?.to_string(),
            fence: fence?,
            public_keys,
        })
    };
    violations.finish(binding())
}

/// A fence of a placement. An absurd one would be the node's for ever.
pub(super) fn fence(fence: u64) -> Result<Fence> {
    match i64::try_from(fence) {
        Ok(1..) => Ok(fence.into()),
        Ok(_) | Err(_) => Err(Error::invalid(
            "fence",
            format!("must be from 1 to {}", i64::MAX),
        )),
    }
}

/// The keys of a list; what is wrong with them is noted.
pub(super) fn public_keys(
    violations: &mut Violations,
    texts: &[String],
    most: usize,
) -> Vec<PublicKey> {
    if texts.len() > most {
        violations.add("public_keys", format!("must be at most {most}"));
        return Vec::new();
    }
    let mut keys: Vec<PublicKey> = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        if let Some(key) = violations.check(format!("public_keys[{at}]"), text.parse()) {
            keys.push(key);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// A request to import, without its keystores.
pub(super) fn import(request: &pb::ImportKeysRequest) -> Result<(Uuid, Name, Wish)> {
    let mut violations = Violations::default();
    if !(1..=KEYS).contains(&request.keystores.len()) {
        violations.add("keystores", format!("must be from 1 to {KEYS}"));
    }
    let id = request_id(&mut violations, &request.request_id);
    let chain = violations.absorb(wire::parse("chain", &request.chain))?;
    let wish = wish(&mut violations, &request.fee_recipient, request.gas_limit);
    violations.finish(id.zip(chain).map(|(id, chain)| (id, chain, wish)))
}

/// Keys to make.
pub(super) struct NewKeys {
    pub(super) request_id: Uuid,
    pub(super) chain: Name,
    pub(super) count: usize,
    pub(super) withdrawal_address: Address,
    pub(super) wish: Wish,
}

/// A request to make keys.
pub(super) fn new_keys(request: &pb::GenerateKeysRequest) -> Result<NewKeys> {
    let mut violations = Violations::default();
    let count = usize::try_from(request.count).ok();
    let count = count.filter(|count| (1..=KEYS).contains(count));
    if count.is_none() {
        violations.add("count", format!("must be from 1 to {KEYS}"));
    }
    let request_id = request_id(&mut violations, &request.request_id);
    let chain = violations.absorb(wire::parse("chain", &request.chain))?;
    let withdrawal_address = address("withdrawal_address", &request.withdrawal_address);
    let withdrawal_address = violations.absorb(withdrawal_address)?;
    let wish = wish(&mut violations, &request.fee_recipient, request.gas_limit);
    let new = || {
        Some(NewKeys {
            request_id: request_id?,
            chain: chain?,
            count: count?,
            withdrawal_address: withdrawal_address?,
            wish,
        })
    };
    violations.finish(new())
}

fn request_id(violations: &mut Violations, text: &str) -> Option<Uuid> {
    let parsed = Uuid::try_parse(text).map_err(|_| "expected a UUID that you choose");
    violations.check("request_id", parsed)
}

fn wish(violations: &mut Violations, fee_recipient: &str, gas_limit: u64) -> Wish {
    let set = (!fee_recipient.is_empty()).then(|| address("fee_recipient", fee_recipient));
    let fee_recipient = set.and_then(|set| violations.absorb(set).ok().flatten());
    number(violations, "gas_limit", gas_limit);
    Wish {
        fee_recipient,
        gas_limit,
    }
}

/// An address that somebody may have the key of.
fn address(field: &str, text: &str) -> Result<Address> {
    let address: Address = wire::parse(field, text)?;
    if address.0 == [0; 20] {
        return Err(Error::invalid(
            field,
            "nobody has the key of the zero address",
        ));
    }
    Ok(address)
}

/// A number that the database can keep.
fn number(violations: &mut Violations, field: &str, number: u64) {
    if i64::try_from(number).is_err() {
        violations.add(field, format!("must be at most {}", i64::MAX));
    }
}

/// What a request to update wants of which validator.
pub(super) struct Edit {
    pub(super) public_key: PublicKey,
    fee_recipient: Option<Option<Address>>,
    gas_limit: Option<u64>,
}

impl Edit {
    /// The validator with what is changed.
    pub(super) fn of(&self, validator: &Validator) -> Validator {
        let wish = Wish {
            fee_recipient: self.fee_recipient.unwrap_or(validator.fee_recipient),
            gas_limit: self.gas_limit.unwrap_or(validator.gas_limit),
        };
        wish.of(validator.clone())
    }
}

/// A request to update.
pub(super) fn edit(request: &pb::UpdateValidatorRequest) -> Result<Edit> {
    let mut violations = Violations::default();
    let validator = request.validator.clone().unwrap_or_default();
    let spec = validator.spec.unwrap_or_default();
    let public_key = wire::parse("validator.public_key", &validator.public_key);
    let public_key = violations.absorb(public_key)?;
    let wish = wish(&mut violations, &spec.fee_recipient, spec.gas_limit);
    let mask = request.update_mask.as_ref();
    let paths = mask.map_or(&[][..], |mask| &mask.paths);
    if paths.is_empty() {
        violations.add(
            "update_mask",
            "name `spec.fee_recipient` or `spec.gas_limit`",
        );
    }
    let (mut fee_recipient, mut gas_limit) = (None, None);
    for path in paths {
        match path.as_str() {
            "spec.fee_recipient" => fee_recipient = Some(wish.fee_recipient),
            "spec.gas_limit" => gas_limit = Some(wish.gas_limit),
            _ => violations.add(
                "update_mask",
                "holds a path other than `spec.fee_recipient` and `spec.gas_limit`",
            ),
        }
    }
    let edit = public_key.map(|public_key| Edit {
        public_key,
        fee_recipient,
        gas_limit,
    });
    violations.finish(edit)
}

/// What became of the keystore at a position.
pub(super) fn imported(index: usize, imported: Imported) -> pb::ImportedKey {
    use pb::imported_key::Outcome;
    let (outcome, public_key, problem) = match imported {
        Imported::New(key) => (Outcome::Imported, Some(key), String::new()),
        Imported::Duplicate(key) => (Outcome::Duplicate, Some(key), String::new()),
        Imported::Refused {
            public_key,
            problem,
        } => (Outcome::Refused, public_key, problem),
    };
    pb::ImportedKey {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        outcome: outcome.into(),
        public_key: public_key.map(|key| key.to_string()).unwrap_or_default(),
        problem,
    }
}

impl From<Validator> for pb::Validator {
    fn from(validator: Validator) -> Self {
        let text = |address: Option<Address>| address.map(|address| address.to_string());
        Self {
            public_key: validator.public_key.to_string(),
            etag: wire::etag(validator.version),
            create_time: Some(wire::timestamp(validator.create_time)),
            spec: Some(pb::ValidatorSpec {
                chain: validator.chain,
                fee_recipient: text(validator.fee_recipient).unwrap_or_default(),
                gas_limit: validator.gas_limit,
            }),
            status: Some(pb::ValidatorStatus {
                state: pb::validator_status::State::from(validator.state).into(),
                status_reason: validator.status_reason,
                node_id: validator
                    .node_id
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                fence: validator.fence.get(),
                granted: validator.granted,
                watermarks: Some(validator.watermarks.into()),
            }),
        }
    }
}

impl From<State> for pb::validator_status::State {
    fn from(state: State) -> Self {
        match state {
            State::Quarantined => Self::Quarantined,
            State::Active => Self::Active,
            State::Disabled => Self::Disabled,
            State::Removed => Self::Removed,
        }
    }
}

impl From<Watermarks> for pb::Watermarks {
    fn from(known: Watermarks) -> Self {
        Self {
            block_slot: known.block,
            source_epoch: known.vote.map(|vote| vote.0),
            target_epoch: known.vote.map(|vote| vote.1),
        }
    }
}
