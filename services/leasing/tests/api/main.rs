//! Leasing through its API, against a real database and a real inventory.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod fixture;
mod leases;
mod ledger;
mod life;
mod pki;
