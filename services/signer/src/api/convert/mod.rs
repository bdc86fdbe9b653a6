//! Between messages and domain types. Nothing else in this API sees both.

mod custody;
mod grants;
mod keys;
mod validators;

use crate::domain::{Address, PublicKey};
use crate::keys::Wish;
use berth_core::{Error, Result, Violations};
use berth_runtime::wire;

pub(super) use custody::seen;
pub(super) use grants::{binding, chain, fence};
pub(super) use keys::{import, imported, new_keys};
pub(super) use validators::edit;

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

/// A public key that was typed twice.
pub(super) fn confirmed(key: &str, typed: &str) -> Result<PublicKey> {
    let mut violations = Violations::default();
    let key: Option<PublicKey> = violations.absorb(wire::parse("public_key", key))?;
    let typed: Option<PublicKey> = violations.absorb(wire::parse("confirmation", typed))?;
    if key.is_some() && typed.is_some() && typed != key {
        violations.add("confirmation", "is not the public key");
    }
    violations.finish(key)
}

/// What stands in fields whose paths begin with `within`.
fn wish(violations: &mut Violations, within: &str, fee_recipient: &str, gas_limit: u64) -> Wish {
    let field = format!("{within}fee_recipient");
    let set = (!fee_recipient.is_empty()).then(|| address(&field, fee_recipient));
    let fee_recipient = set.and_then(|set| violations.absorb(set).ok().flatten());
    number(violations, &format!("{within}gas_limit"), gas_limit);
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
