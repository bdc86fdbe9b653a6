//! The agent between a node that is not trusted and the control plane.

#![cfg(test)]

mod bridge;
mod control;
mod control_plane;
mod duty;
#[path = "../../../../services/runtime/tests/support/eventually.rs"]
mod eventually;
#[path = "../../../../services/runtime/tests/support/held.rs"]
mod held;
mod hostile;
mod program;
mod signer;
mod words;
