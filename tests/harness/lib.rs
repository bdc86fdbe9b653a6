//! The whole system for tests: a real `berth dev` on a folder of its own, the
//! real client, the real network of a chain, and eyes on all that they leave.
//!
//! Everything panics: a test that cannot look has failed. Deliberately absent:
//! any way into Berth that an operator does not have.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot run must fail"
)]

mod client;
mod eventually;
mod host;
mod leftovers;
mod network;
mod node;
mod place;
mod postgres;
mod system;
mod vault;

pub use client::Answer;
pub use eventually::eventually;
pub use host::{output, program, repository};
pub use node::{Event, Watch};
pub use place::Sight;
pub use system::{Berth, Shape};
