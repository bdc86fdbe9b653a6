//! What machines are signed and refused, over mutual TLS, with keys in a real
//! Vault and rows in a real PostgreSQL.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics is a test that fails"
)]

mod admin;
mod agent;
#[path = "../../../runtime/tests/support/authority.rs"]
mod authority;
mod bodies;
#[path = "../compat/chain.rs"]
mod chain;
#[path = "../../../runtime/tests/support/eventually.rs"]
mod eventually;
mod fences;
mod keymanager;
mod line;
#[expect(dead_code, reason = "nothing comes sealed here")]
#[path = "../keys/made.rs"]
mod made;
mod refused;
#[path = "../compat/requests.rs"]
mod requests;
mod room;
mod signed;
mod site;
#[expect(dead_code, reason = "tests of the process use the rest")]
#[path = "../support/vault.rs"]
mod vault;
#[path = "../compat/vectors.rs"]
mod vectors;
