//! The ledger: what moved, and what an account has.

use berth_core::{AccountId, EntryId, LeaseId, Money};
use chrono::{DateTime, Utc};

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// An administrator added money.
    Credit,
    /// A lease was charged.
    Charge,
}

impl Kind {
    /// The book on the other side of the account's.
    #[must_use]
    pub fn contra(self) -> &'static str {
        match self {
            Self::Credit => "bank",
            Self::Charge => "revenue",
        }
    }
}

/// Money about to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Whose.
    pub account_id: AccountId,
    /// Why.
    pub kind: Kind,
    /// Positive adds to the account's balance.
    pub amount: Money,
    /// The lease that is charged.
    pub lease_id: Option<LeaseId>,
    /// Free text of the administrator.
    pub memo: String,
}

/// One line of an account's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Identifier.
    pub id: EntryId,
    /// Place in the statement.
    pub position: i64,
    /// Why money moved.
    pub kind: Kind,
    /// Positive adds to the account's balance.
    pub amount: Money,
    /// The account's balance after it.
    pub balance: Money,
    /// The lease that was charged.
    pub lease_id: Option<LeaseId>,
    /// Free text of the administrator.
    pub memo: String,
    /// When it was written.
    pub create_time: DateTime<Utc>,
}

/// What an account has in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Credits less charges.
    pub amount: Money,
    /// What its active leases cost an hour.
    pub spend_per_hour: Money,
    /// When it is empty if its leases run as long as they are to.
    pub empty_time: Option<DateTime<Utc>>,
    /// What the account was told of it, if that is so still.
    pub warning: String,
}
