//! Between messages and domain types. Nothing else in this service sees both.

use super::nodes::Beside;
use super::pb;
use super::upgrade::Plan;
use crate::catalogue;
use crate::domain::{
    Chain, Component, Duty, Health, Node, NodeEvent, Placement, PlacementState, Role, Source,
    Standing, State, Upgrade, UpgradeState,
};
use berth_core::{AccountId, Error, Result, Violations};
use berth_provisioner::chain::{self, ChainEntry};
use berth_runtime::wire;
use chrono::TimeDelta;
use prost_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Most validators of a node.
const MOST_VALIDATORS: usize = 1000;
/// Term of a lease when nobody names one.
const TERM: TimeDelta = TimeDelta::hours(24);
/// Shortest and longest term.
const TERMS: (TimeDelta, TimeDelta) = (TimeDelta::minutes(1), TimeDelta::days(366));

/// A chain and what its text says.
pub(super) fn chain(chain: &Chain, entry: &ChainEntry) -> pb::Chain {
    let mut notice = entry.obstacles();
    if signs(entry) {
        notice.extend(entry.signing().err());
    }
    if !entry.notice.is_empty() {
        notice.push(entry.notice.clone());
    }
    pb::Chain {
        id: chain.id.clone(),
        etag: wire::etag(chain.version),
        create_time: Some(wire::timestamp(chain.create_time)),
        display_name: entry.display_name.clone(),
        chain_id: entry.chain_id.clone(),
        version: entry.version.clone(),
        custody: custody(entry.custody).into(),
        roles: entry
            .roles()
            .into_iter()
            .map(|role| from_role(role).into())
            .collect(),
        launchable: entry.launchable().is_ok(),
        notice: notice.join("; "),
        images: entry.components.iter().map(image).collect(),
        chain_toml: chain.chain_toml.clone(),
    }
}

/// Whether the chain has validators whose keys the signer holds.
pub(super) fn signs(entry: &ChainEntry) -> bool {
    entry.custody == chain::Custody::RemoteSigner && entry.roles().contains(&chain::Role::Validator)
}

fn image(component: &chain::Component) -> pb::ChainImage {
    pb::ChainImage {
        component: component.name.clone(),
        reference: format!("{}:{}", component.image.repository, component.image.tag),
        digest: component.image.digest.clone().unwrap_or_default(),
    }
}

fn custody(custody: chain::Custody) -> pb::Custody {
    match custody {
        chain::Custody::RemoteSigner => pb::Custody::RemoteSigner,
        chain::Custody::ExternalState => pb::Custody::ExternalState,
        chain::Custody::HandoffArtefact => pb::Custody::HandoffArtefact,
        chain::Custody::RotateOnly => pb::Custody::RotateOnly,
        chain::Custody::DelegatedHot => pb::Custody::DelegatedHot,
    }
}

fn from_role(role: chain::Role) -> pb::Role {
    match role {
        chain::Role::Validator => pb::Role::Validator,
        chain::Role::Full => pb::Role::Full,
        chain::Role::Archive => pb::Role::Archive,
        chain::Role::Sentry => pb::Role::Sentry,
        chain::Role::Bridge => pb::Role::Bridge,
        chain::Role::Prover => pb::Role::Prover,
        chain::Role::Light => pb::Role::Light,
    }
}

/// A role from the wire.
pub(super) fn role(number: i32) -> Result<Role> {
    match pb::Role::try_from(number) {
        Ok(pb::Role::Validator) => Ok(Role::Validator),
        Ok(pb::Role::Full) => Ok(Role::Full),
        Ok(pb::Role::Archive) => Ok(Role::Archive),
        Ok(pb::Role::Sentry) => Ok(Role::Sentry),
        Ok(pb::Role::Bridge) => Ok(Role::Bridge),
        Ok(pb::Role::Prover) => Ok(Role::Prover),
        Ok(pb::Role::Light) => Ok(Role::Light),
        Ok(pb::Role::Unspecified) => Err(Error::invalid("spec.role", "is required")),
        Err(_) => Err(Error::invalid("spec.role", "is no role that is known here")),
    }
}

/// Public keys of validators from the wire, in lower case.
pub(super) fn validators(keys: &[String]) -> Result<Vec<String>> {
    if keys.len() > MOST_VALIDATORS {
        let problem = format!("are {}; a node has at most {MOST_VALIDATORS}", keys.len());
        return Err(Error::invalid("spec.validators", problem));
    }
    let mut wrong = Violations::default();
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::new();
    for (i, key) in keys.iter().enumerate() {
        let field = format!("spec.validators[{i}]");
        let Some(key) = wrong.absorb(public_key(&field, key))? else {
            continue;
        };
        if seen.insert(key.clone()) {
            parsed.push(key);
        } else {
            wrong.add(field, "is named twice");
        }
    }
    wrong.finish(Some(parsed))
}

/// The public key of a validator from the wire, in lower case.
pub(super) fn public_key(field: &str, key: &str) -> Result<String> {
    let key = key.to_ascii_lowercase();
    let digits = key.strip_prefix("0x").unwrap_or_default();
    if digits.len() == 96 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(key)
    } else {
        Err(Error::invalid(
            field,
            "is no public key: `0x` and 96 hex digits",
        ))
    }
}

/// Where the chain has a validator in its life.
pub(super) fn standing(standing: Standing) -> pb::validator_on_chain::State {
    use pb::validator_on_chain::State;
    match standing {
        Standing::PendingInitialized => State::PendingInitialized,
        Standing::PendingQueued => State::PendingQueued,
        Standing::ActiveOngoing => State::ActiveOngoing,
        Standing::ActiveExiting => State::ActiveExiting,
        Standing::ActiveSlashed => State::ActiveSlashed,
        Standing::ExitedUnslashed => State::ExitedUnslashed,
        Standing::ExitedSlashed => State::ExitedSlashed,
        Standing::WithdrawalPossible => State::WithdrawalPossible,
        Standing::WithdrawalDone => State::WithdrawalDone,
    }
}

/// Where the machine comes from and for how long, from the wire.
pub(super) fn source(source: &pb::Source) -> Result<(Source, TimeDelta)> {
    let field = |name: &str| format!("spec.source.{name}");
    let given = [
        !source.lease_id.is_empty(),
        !source.offer_id.is_empty(),
        source.max_price_per_hour.is_some(),
    ];
    let mut wrong = Violations::default();
    if given.into_iter().filter(|given| *given).count() != 1 {
        let problem = "name exactly one of `lease_id`, `offer_id` and `max_price_per_hour`";
        wrong.add("spec.source", problem);
    }
    let price = source.max_price_per_hour.as_ref();
    let price = price.map(|price| wire::positive_money(&field("max_price_per_hour"), price));
    let price = wrong.absorb(price.transpose())?.flatten();
    let lease = wire::parse_optional(&field("lease_id"), &source.lease_id);
    let lease = wrong.absorb(lease)?.flatten();
    let offer = wire::parse_optional(&field("offer_id"), &source.offer_id);
    let offer = wrong.absorb(offer)?.flatten();
    let parsed = price.map(Source::Price);
    let parsed = parsed.or(lease.map(Source::Lease));
    let parsed = parsed.or(offer.map(Source::Offer));
    let term = match source.term {
        None => Some(TERM),
        Some(_) if !source.lease_id.is_empty() => {
            wrong.add(
                field("term"),
                "a lease has its own term; extend the lease instead",
            );
            None
        }
        Some(term) => wrong.absorb(wire::span(&field("term"), term, TERMS.0, TERMS.1))?,
    };
    wrong.finish(parsed.zip(term))
}

/// A node and what is shown with it.
pub(super) fn node(node: &Node, beside: &Beside) -> pb::Node {
    let upgrade = beside.upgrade.as_ref();
    pb::Node {
        id: node.id.to_string(),
        etag: wire::etag(node.version),
        create_time: Some(wire::timestamp(node.create_time)),
        name: node.name.to_string(),
        spec: Some(pb::NodeSpec {
            chain: node.chain_id.clone(),
            role: from_role(catalogue::role(node.role)).into(),
            source: Some(from_source(node)),
            settings: node.settings.clone(),
            validators: node.validators.clone(),
        }),
        status: Some(pb::NodeStatus {
            state: pb::node_status::State::from(node.state).into(),
            status_reason: node.status_reason.clone(),
            health: pb::node_status::Health::from(node.health).into(),
            health_reason: node.health_reason.clone(),
            duty: pb::node_status::Duty::from(node.duty).into(),
            duty_reason: node.duty_reason.clone(),
            placement: beside.placement.as_ref().map(pb::Placement::from),
            components: node.components.iter().map(pb::Component::from).collect(),
            lease_id: node.lease_id.map(|id| id.to_string()).unwrap_or_default(),
            event_sequence: node.last_event,
            version: beside.version.clone(),
            upgrade: upgrade.map(pb::Upgrade::from),
        }),
        reconciling: node.state.is_reconciling() || upgrade.is_some_and(|u| u.state.is_open()),
    }
}

/// A node as who lends its machine sees it: the account's own whole, of others
/// only what a drain needs.
pub(super) fn machine_node(
    node: &Node,
    viewer: AccountId,
    lease_end: Option<Timestamp>,
) -> pb::MachineNode {
    let own = |text: String| {
        if node.account_id == viewer {
            text
        } else {
            String::new()
        }
    };
    pb::MachineNode {
        node_id: own(node.id.to_string()),
        name: own(node.name.to_string()),
        chain: own(node.chain_id.clone()),
        role: from_role(catalogue::role(node.role)).into(),
        state: pb::node_status::State::from(node.state).into(),
        validator_count: u32::try_from(node.validators.len()).unwrap_or(u32::MAX),
        lease_expire_time: lease_end,
    }
}

fn from_source(node: &Node) -> pb::Source {
    let term = Some(wire::duration(TimeDelta::seconds(node.term_seconds)));
    match node.source {
        Source::Lease(lease) => pb::Source {
            lease_id: lease.to_string(),
            ..pb::Source::default()
        },
        Source::Offer(offer) => pb::Source {
            offer_id: offer.to_string(),
            term,
            ..pb::Source::default()
        },
        Source::Price(price) => pb::Source {
            max_price_per_hour: Some(wire::money(price)),
            term,
            ..pb::Source::default()
        },
    }
}

impl From<State> for pb::node_status::State {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Placing => Self::Placing,
            State::Launching => Self::Launching,
            State::Running => Self::Running,
            State::Degraded => Self::Degraded,
            State::Stopping => Self::Stopping,
            State::Stopped => Self::Stopped,
            State::Retiring => Self::Retiring,
            State::Retired => Self::Retired,
            State::Failed => Self::Failed,
        }
    }
}

impl From<Health> for pb::node_status::Health {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => Self::Unknown,
            Health::Healthy => Self::Healthy,
            Health::Syncing => Self::Syncing,
            Health::Degraded => Self::Degraded,
            Health::Down => Self::Down,
        }
    }
}

impl From<Duty> for pb::node_status::Duty {
    fn from(duty: Duty) -> Self {
        match duty {
            Duty::Unknown => Self::Unknown,
            Duty::Syncing => Self::Syncing,
            Duty::NotInSet => Self::NotInSet,
            Duty::Earning => Self::Earning,
            Duty::Delinquent => Self::Delinquent,
            Duty::Jailed => Self::Jailed,
            Duty::Tombstoned => Self::Tombstoned,
            Duty::Exiting => Self::Exiting,
            Duty::Exited => Self::Exited,
        }
    }
}

impl From<&Placement> for pb::Placement {
    fn from(placement: &Placement) -> Self {
        use pb::placement::State;
        Self {
            id: placement.id.to_string(),
            machine_id: placement.machine_id.to_string(),
            fence: placement.fence.get(),
            state: match placement.state {
                PlacementState::Current => State::Current,
                PlacementState::Fenced => State::Fenced,
                PlacementState::Wiped => State::Wiped,
                PlacementState::Abandoned => State::Abandoned,
            }
            .into(),
        }
    }
}

impl From<&Upgrade> for pb::Upgrade {
    fn from(upgrade: &Upgrade) -> Self {
        use pb::upgrade::State;
        Self {
            state: match upgrade.state {
                UpgradeState::Pulling => State::Pulling,
                UpgradeState::Checking => State::Checking,
                UpgradeState::RollingBack => State::RollingBack,
                UpgradeState::Done => State::Done,
                UpgradeState::RolledBack => State::RolledBack,
                UpgradeState::GivenUp => State::GivenUp,
                UpgradeState::Failed => State::Failed,
            }
            .into(),
            from_version: upgrade.from.version.clone(),
            to_version: upgrade.to.version.clone(),
            deadline: Some(wire::timestamp(upgrade.gate.deadline)),
            reason: upgrade.reason.clone(),
            create_time: Some(wire::timestamp(upgrade.create_time)),
        }
    }
}

/// What an upgrade would change.
pub(super) fn plan(plan: &Plan) -> pb::UpgradePlan {
    let role = catalogue::role(plan.role);
    let (old, new) = (&plan.old, &plan.new);
    let images = |entry: &ChainEntry| -> BTreeMap<String, String> {
        let components = entry.components_of(role);
        components
            .map(|c| {
                let digest = c.image.digest.as_deref().unwrap_or_default();
                (c.name.clone(), format!("{}@{digest}", c.image.reference()))
            })
            .collect()
    };
    let (before, after) = (images(old), images(new));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| pb::ImageChange {
        component: name.clone(),
        from_image: before.get(name).cloned().unwrap_or_default(),
        to_image: after.get(name).cloned().unwrap_or_default(),
    };
    let only = |of: &ChainEntry, not_of: &ChainEntry| -> Vec<String> {
        let names = of.settings.keys();
        let only = names.filter(|name| !not_of.settings.contains_key(*name));
        only.cloned().collect()
    };
    pb::UpgradePlan {
        from_version: old.version.clone(),
        to_version: new.version.clone(),
        images: names.into_iter().map(change).collect(),
        added_settings: only(new, old),
        removed_settings: only(old, new),
        can_roll_back: plan.reversible,
        roll_back_reason: plan.reversible_because(),
        downtime: Some(wire::duration(catalogue::stops(old, role))),
        gate: Some(wire::duration(catalogue::gate(new))),
    }
}

impl From<&Component> for pb::Component {
    fn from(component: &Component) -> Self {
        Self {
            name: component.name.clone(),
            state: component.state.clone(),
            image_digest: component.image_digest.clone(),
            restarts: component.restarts,
        }
    }
}

impl From<NodeEvent> for pb::NodeEvent {
    fn from(event: NodeEvent) -> Self {
        Self {
            sequence: event.sequence,
            create_time: Some(wire::timestamp(event.create_time)),
            step: event.step,
            message: event.message,
            percent: event.percent,
            state: pb::node_status::State::from(event.state).into(),
        }
    }
}
