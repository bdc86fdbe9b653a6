//! Keys: from keystores and seeds, in a real Vault, and in memory.
//!
//! `BERTH_BAO` names the `bao` executable where it is not in the project's
//! cache.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics is a test that fails"
)]

mod hostile;
mod keyring;
mod keystores;
mod made;
mod public;
mod sealing;
#[expect(dead_code, reason = "tests of the process use the rest")]
#[path = "../support/vault.rs"]
mod vault;
#[path = "../compat/vectors.rs"]
mod vectors;
