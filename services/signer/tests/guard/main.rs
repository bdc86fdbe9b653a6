//! The guard against real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

mod batches;
mod fences;
mod oracle;
mod races;
mod support;
#[expect(dead_code, reason = "the other tests use more of it")]
#[path = "../support/vault.rs"]
mod vault;
mod vectors;
