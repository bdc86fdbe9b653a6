//! Monitoring through its listeners and its API, against a real database.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod agent;
#[path = "../../../runtime/tests/support/authority.rs"]
mod authority;
mod beacon;
mod duty;
#[path = "../../../runtime/tests/support/eventually.rs"]
mod eventually;
mod fixture;
mod forward;
#[path = "../../../runtime/tests/support/held.rs"]
mod held;
mod history;
mod incidents;
mod listeners;
mod node;
mod observe;
mod receive;
mod refusals;
mod samples;
mod sweep;
mod targets;
mod together;
mod watch;
