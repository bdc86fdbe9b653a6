//! Credits, balances and statements.

use super::super::pb;
use crate::domain::{Balance, Entry, Kind, Transfer};
use berth_core::{AccountId, Result, Violations};
use berth_runtime::wire;

/// Longest memo.
const MEMO: usize = 200;

/// What a request to credit moves; without an account, to the caller's own.
pub(in super::super) fn credit(
    caller: AccountId,
    request: &pb::CreditAccountRequest,
) -> Result<Transfer> {
    let mut violations = Violations::default();
    let account = violations.absorb(wire::parse_optional("account_id", &request.account_id))?;
    let amount = violations.absorb(
        wire::required("amount", request.amount.as_ref())
            .and_then(|amount| wire::positive_money("amount", amount)),
    )?;
    let memo = violations.check("memo", berth_core::text(&request.memo, MEMO));
    let transfer = || {
        Some(Transfer {
            account_id: account?.unwrap_or(caller),
            kind: Kind::Credit,
            amount: amount?,
            lease_id: None,
            memo: memo?,
        })
    };
    violations.finish(transfer())
}

impl From<Balance> for pb::Balance {
    fn from(balance: Balance) -> Self {
        Self {
            amount: Some(wire::money(balance.amount)),
            spend_per_hour: Some(wire::money(balance.spend_per_hour)),
            empty_time: balance.empty_time.map(wire::timestamp),
            warning: balance.warning,
        }
    }
}

impl From<Entry> for pb::LedgerEntry {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            create_time: Some(wire::timestamp(entry.create_time)),
            kind: pb::ledger_entry::Kind::from(entry.kind).into(),
            amount: Some(wire::money(entry.amount)),
            balance: Some(wire::money(entry.balance)),
            lease_id: entry.lease_id.map(|id| id.to_string()).unwrap_or_default(),
            memo: entry.memo,
        }
    }
}

impl From<Kind> for pb::ledger_entry::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Credit => Self::Credit,
            Kind::Charge => Self::Charge,
        }
    }
}
