//! The agent between a node that is not trusted and the control plane.

#![cfg(test)]

mod control;
mod control_plane;
mod hostile;
mod program;
