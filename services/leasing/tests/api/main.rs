//! Leasing through its API, against a real database, a real inventory and, for
//! webhooks, a real OpenBao.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod deliveries;
mod fixture;
mod hooks;
mod leases;
mod ledger;
mod life;
mod pki;
mod receiver;
mod same_vault;
mod vault;
mod warnings;
mod webhooks;
