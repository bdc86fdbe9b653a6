//! Inventory through its API, against a real database.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod fixture;
mod grades;
mod machines;
mod offers;
mod reservations;
mod suppliers;
mod work;
