//! Keys that come, and new ones.

use super::super::pb;
use super::{address, wish};
use crate::domain::Address;
use crate::keys::{Imported, Wish};
use berth_core::{Name, Result, Violations};
use berth_runtime::wire;
use uuid::Uuid;

/// Most keys of a request.
const KEYS: usize = 100;

/// A request to import, without its keystores.
pub(in super::super) fn import(request: &pb::ImportKeysRequest) -> Result<(Uuid, Name, Wish)> {
    let mut violations = Violations::default();
    if !(1..=KEYS).contains(&request.keystores.len()) {
        violations.add("keystores", format!("must be from 1 to {KEYS}"));
    }
    let id = request_id(&mut violations, &request.request_id);
    let chain = violations.absorb(wire::parse("chain", &request.chain))?;
    let wish = wish(
        &mut violations,
        "",
        &request.fee_recipient,
        request.gas_limit,
    );
    violations.finish(id.zip(chain).map(|(id, chain)| (id, chain, wish)))
}

/// Keys to make.
pub(in super::super) struct NewKeys {
    pub(in super::super) request_id: Uuid,
    pub(in super::super) chain: Name,
    pub(in super::super) count: usize,
    pub(in super::super) withdrawal_address: Address,
    pub(in super::super) wish: Wish,
}

/// A request to make keys.
pub(in super::super) fn new_keys(request: &pb::GenerateKeysRequest) -> Result<NewKeys> {
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
    let wish = wish(
        &mut violations,
        "",
        &request.fee_recipient,
        request.gas_limit,
    );
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

/// What became of the keystore at a position.
pub(in super::super) fn imported(index: usize, imported: Imported) -> pb::ImportedKey {
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
