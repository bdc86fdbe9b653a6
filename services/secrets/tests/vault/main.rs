//! The Vault client against a real server: an OpenBao of each test's own, or
//! the throw-away server that `BERTH_TEST_VAULT_ADDR`, `BERTH_TEST_VAULT_TOKEN`
//! and `BERTH_TEST_VAULT_CA` name.
//!
//! `BERTH_BAO` names the `bao` executable where it is not in the project's
//! cache. Tests that seal, stop or break a server always start their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that panics is a test that fails"
)]

mod bootstrap;
mod dev;
mod harness;
mod identities;
mod login;
mod policies;
mod secrets;
mod signer;
mod ssh;
mod wrapping;
