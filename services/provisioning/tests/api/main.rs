//! Provisioning through its API and its reconcilers, against real Postgres and
//! a real OpenBao. Machines and the other services are scripted here, and say so.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that panics is a test that fails"
)]

mod authority;
mod chains;
mod effects;
#[path = "../../../runtime/tests/support/eventually.rs"]
mod eventually;
mod fence;
#[path = "../../../runtime/tests/support/held.rs"]
mod held;
mod launch;
mod machine;
mod nodes;
mod onchain;
mod outside;
mod placements;
mod signer;
mod site;
mod steps;
mod support;
mod validators;
mod watch;
mod work;
