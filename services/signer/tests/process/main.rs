//! The signer as a process: the real executable, on a Postgres that flushes and
//! a real Vault.
//!
//! `BERTH_BAO` names the `bao` executable where it is not in the project's
//! cache.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics is a test that fails"
)]

mod anchor;
#[path = "../compat/chain.rs"]
mod chain;
mod crash;
mod custody;
mod duty;
#[path = "../../../runtime/tests/support/eventually.rs"]
mod eventually;
mod ledger;
mod life;
mod line;
mod loss;
#[path = "../keys/made.rs"]
mod made;
mod messages;
mod node;
mod pause;
mod postgres;
mod races;
mod record;
#[path = "../compat/requests.rs"]
mod requests;
mod signer;
#[expect(dead_code, reason = "tests of keys use the rest")]
#[path = "../support/vault.rs"]
mod vault;
mod withdrawn;
