//! The gateway over TLS, in front of services over mutual TLS, with a real
//! database for its audit log.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod audit;
#[path = "../../../runtime/tests/support/authority.rs"]
mod authority;
mod fixture;
mod methods;
mod passing;
mod services;
mod tokens;
