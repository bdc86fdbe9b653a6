//! The signer's gRPC API on a real database and a real Vault.
//!
//! `BERTH_BAO` names the `bao` executable where it is not in the project's
//! cache.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics is a test that fails"
)]

mod custody;
#[path = "../../../runtime/tests/support/eventually.rs"]
mod eventually;
mod exits;
mod generate;
mod grants;
mod house;
mod import;
#[path = "../keys/made.rs"]
mod made;
mod protection;
mod validators;
#[expect(dead_code, reason = "tests of the process use the rest")]
#[path = "../support/vault.rs"]
mod vault;
