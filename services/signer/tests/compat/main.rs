//! The signer beside other implementations: what real clients send, and what the
//! executable specification computes.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

mod chain;
mod damaged;
mod recorded;
mod refused;
mod requests;
mod roots;
mod vectors;
