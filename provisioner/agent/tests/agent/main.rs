//! The agent between a node that is not trusted and the control plane.

#![cfg(test)]

mod control;
mod control_plane;
#[path = "../../../../services/runtime/tests/support/held.rs"]
mod held;
mod hostile;
mod program;
