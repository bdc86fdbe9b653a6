//! What the services share, against a real database and over real TLS.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "../support/authority.rs"]
mod authority;
mod callers;
#[path = "../support/eventually.rs"]
mod eventually;
mod identity;
mod once;
mod paused;
mod plain;
mod silent;
mod steps;
mod worker;
