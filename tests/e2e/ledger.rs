//! Money: what a lease cost is what the account paid, and nothing came from
//! nowhere.

use berth_tests::{Berth, eventually};
use serde_json::Value;
use std::time::Duration;

/// The lease is over, the ledger sums to zero, and the account's statement adds
/// up to the price of the time that it had the machine.
pub(crate) fn balances(berth: &Berth, lease_id: &str) {
    let lease = eventually("the lease is closed", Duration::from_mins(1), || {
        let lease = berth.run(&["lease", "show", lease_id])["lease"].take();
        if lease["status"]["state"] == "STATE_CLOSED" {
            Ok(lease)
        } else {
            Err(lease["status"].to_string())
        }
    });
    assert_eq!(lease["status"]["closeReason"], "CLOSE_REASON_OWNER");
    let cost = micros(&lease["status"]["cost"]);
    assert!(cost > 0, "{lease}");

    let sums =
        "select transfer_id from entry group by transfer_id, currency having sum(micros) <> 0";
    assert_eq!(
        berth.sql("berth_leasing", sums),
        "",
        "every transfer sums to zero"
    );
    assert_eq!(
        berth.sql("berth_leasing", "select sum(micros) from entry"),
        "0"
    );

    let statement = berth.run(&["account", "statement", "--limit", "200"]);
    let entries = statement["entries"].as_array().expect("entries");
    let of = |kind: &str| -> i64 {
        let these = entries.iter().filter(|entry| entry["kind"] == kind);
        these.map(|entry| micros(&entry["amount"])).sum()
    };
    let charged = entries.iter().filter(|entry| entry["leaseId"] == lease_id);
    let charged: i64 = charged.map(|entry| micros(&entry["amount"])).sum();
    assert_eq!(-charged, cost, "the statement says what the lease says");
    let balance = berth.run(&["account", "balance"]);
    let balance = micros(&balance["balances"][0]["amount"]);
    assert_eq!(of("KIND_CREDIT") + of("KIND_CHARGE"), balance);
}

/// An amount of money; canonical JSON writes it as text and leaves out a zero.
#[track_caller]
fn micros(money: &Value) -> i64 {
    assert_eq!(money["currency"], "EUR", "{money}");
    money["micros"]
        .as_str()
        .map_or(0, |text| text.parse().expect("a number"))
}
