//! The machine side against real machines: sshd, dockerd, sudo and nftables of
//! the rig, certificates of a real authority, images of a real layout.
//!
//! Needs root. Each test has a machine of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod call;
mod containers;
mod drift;
mod facts;
mod files;
mod firewall;
mod harness;
mod hostile;
mod images;
mod liar;
mod session;
mod wipe;
