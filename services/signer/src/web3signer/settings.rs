//! What the Keymanager API sets of a validator, one value each.

use crate::domain::{Address, Validator};
use crate::keys::Wish;
use berth_core::{Error, Result};
use serde_json::{Value, json};

/// One of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// Whom its registrations pay.
    FeeRecipient,
    /// The highest gas limit of its registrations.
    GasLimit,
}

impl Setting {
    /// The value that a body gives it.
    pub(super) fn value(self, body: &[u8]) -> Result<Wish> {
        let body: Value =
            serde_json::from_slice(body).map_err(|problem| Error::invalid("body", problem))?;
        let nothing = Wish::default();
        match self {
            Self::FeeRecipient => {
                let address = body["ethaddress"]
                    .as_str()
                    .and_then(|text| text.parse().ok());
                let fee_recipient = address.filter(|address| *address != Address([0; 20]));
                let problem = "must be an address, and not zero";
                fee_recipient
                    .map(|_| Wish {
                        fee_recipient,
                        ..nothing
                    })
                    .ok_or_else(|| Error::invalid("ethaddress", problem))
            }
            Self::GasLimit => {
                let limit = body["gas_limit"]
                    .as_str()
                    .and_then(|text| text.parse().ok());
                // As much as the database keeps.
                let limit = limit.filter(|limit| (1..=i64::MAX.unsigned_abs()).contains(limit));
                let problem = "must be a number above 0, as text";
                limit
                    .map(|gas_limit| Wish {
                        gas_limit,
                        ..nothing
                    })
                    .ok_or_else(|| Error::invalid("gas_limit", problem))
            }
        }
    }

    /// The validator, with this value alone as wanted.
    pub(super) fn of(self, known: &Validator, wanted: Wish) -> Validator {
        let mut after = known.clone();
        match self {
            Self::FeeRecipient => after.fee_recipient = wanted.fee_recipient,
            Self::GasLimit => after.gas_limit = wanted.gas_limit,
        }
        after
    }

    /// What is set; `None` where nothing is.
    pub(super) fn read(self, known: &Validator) -> Option<Value> {
        let key = known.public_key;
        match self {
            Self::FeeRecipient => known
                .fee_recipient
                .map(|address| json!({ "pubkey": key, "ethaddress": address })),
            Self::GasLimit => Some(known.gas_limit)
                .filter(|limit| *limit > 0)
                .map(|limit| json!({ "pubkey": key, "gas_limit": limit.to_string() })),
        }
    }
}
