//! Chains, and which validators a node has.

use super::super::pb;
use super::{number, public_keys};
use crate::domain::{Chain, Fork, ForkName, ForkVersion, Root, Schedule};
use crate::store::bindings::Binding;
use berth_core::{Error, Fence, Name, Result, Violations};
use berth_runtime::wire;

/// Most validators of a node.
const BOUND: usize = 1000;

/// A chain as provisioning pins it.
pub(in super::super) fn chain(chain: Option<&pb::SigningChain>) -> Result<Chain> {
    let chain = wire::required("chain", chain)?;
    let mut violations = Violations::default();
    let name: Option<Name> = violations.absorb(wire::parse("chain.name", &chain.name))?;
    let root = Root::try_from(&chain.genesis_validators_root[..]);
    let root = violations.check("chain.genesis_validators_root", root);
    let preset = violations.absorb(wire::parse("chain.preset", &chain.preset))?;
    let forks = forks(&mut violations, &chain.forks);
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

fn forks(violations: &mut Violations, given: &[pb::SigningFork]) -> Option<Schedule> {
    if given.len() > ForkName::ALL.len() {
        violations.add("chain.forks", "holds more than are known here");
        return None;
    }
    let mut forks = Vec::with_capacity(given.len());
    for (at, fork) in given.iter().enumerate() {
        let field = |name| format!("chain.forks[{at}].{name}");
        let name = fork.name.parse::<ForkName>();
        let name = name.map_err(|_| "is not the name of a fork that is known here");
        let name = violations.check(field("name"), name);
        let version = ForkVersion::try_from(&fork.version[..]);
        let version = violations.check(field("version"), version.map_err(|_| "must be 4 bytes"));
        number(violations, &field("epoch"), fork.epoch);
        forks.extend(name.zip(version).map(|(name, version)| Fork {
            name,
            epoch: fork.epoch,
            version,
        }));
    }
    if forks.len() < given.len() {
        return None;
    }
    violations.check("chain.forks", Schedule::try_from(forks))
}

/// Which validators a node is to have.
pub(in super::super) fn binding(request: &pb::BindValidatorsRequest) -> Result<Binding> {
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
pub(in super::super) fn fence(fence: u64) -> Result<Fence> {
    match i64::try_from(fence) {
        Ok(1..) => Ok(fence.into()),
        Ok(_) | Err(_) => Err(Error::invalid(
            "fence",
            format!("must be from 1 to {}", i64::MAX),
        )),
    }
}
