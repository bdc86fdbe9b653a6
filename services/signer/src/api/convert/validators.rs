//! Validators, and what their owners change.

use super::super::pb;
use super::wish;
use crate::domain::validator::State;
use crate::domain::{Address, PublicKey, Validator, Watermarks};
use crate::keys::Wish;
use berth_core::{Result, Violations};
use berth_runtime::wire;

/// What a request to update wants of which validator.
pub(in super::super) struct Edit {
    pub(in super::super) public_key: PublicKey,
    fee_recipient: Option<Option<Address>>,
    gas_limit: Option<u64>,
}

impl Edit {
    /// The validator with what is changed.
    pub(in super::super) fn of(&self, validator: &Validator) -> Validator {
        let wish = Wish {
            fee_recipient: self.fee_recipient.unwrap_or(validator.fee_recipient),
            gas_limit: self.gas_limit.unwrap_or(validator.gas_limit),
        };
        wish.of(validator.clone())
    }
}

/// A request to update.
pub(in super::super) fn edit(request: &pb::UpdateValidatorRequest) -> Result<Edit> {
    let mut violations = Violations::default();
    let validator = request.validator.clone().unwrap_or_default();
    let spec = validator.spec.unwrap_or_default();
    let public_key = wire::parse("validator.public_key", &validator.public_key);
    let public_key = violations.absorb(public_key)?;
    let wish = wish(
        &mut violations,
        "validator.spec.",
        &spec.fee_recipient,
        spec.gas_limit,
    );
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
