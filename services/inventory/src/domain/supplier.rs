//! Who lends machines.

use berth_core::{AccountId, Name, SupplierId};
use chrono::{DateTime, Utc};

/// Who lends machines. Belongs to the account that made it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Supplier {
    /// Identifier.
    pub id: SupplierId,
    /// The owner.
    pub account_id: AccountId,
    /// Name for people; unique in the account.
    pub name: Name,
    /// Grows with every change.
    pub version: i64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
}
