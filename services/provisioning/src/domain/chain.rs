//! A catalogue entry as it is kept. What its text means is read by
//! `berth_provisioner::chain`, above this layer.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Files that an entry names, by that name.
pub type ChainFiles = BTreeMap<String, Vec<u8>>;

/// One revision of a catalogue entry.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Chain {
    /// Name such as `cosmos-devnet`.
    pub id: String,
    /// Grows with every registration of another text or other files.
    pub revision: i64,
    /// Grows with every change; shown to callers as the etag.
    pub version: i64,
    /// When the chain was first registered.
    pub create_time: DateTime<Utc>,
    /// The whole `chain.toml`.
    pub chain_toml: String,
}
