//! Whether this signer could sign now, in the form of `Web3Signer`'s health.

use super::Duty;
use crate::store::roster;
use berth_core::Result;
use berth_runtime::pg;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found.
pub(super) struct Health {
    /// Whether all is well.
    pub(super) up: bool,
    /// Each check, for people and programs.
    pub(super) report: Value,
}

/// Looks at the database, at clock and anchor, and at the keys.
pub(super) async fn look(duty: &Duty) -> Health {
    let database = timeout(PATIENCE, answers(duty)).await;
    let database = matches!(database, Ok(Ok(())));
    let present = (duty.present)();
    let keys = duty.keyring.report();
    let all = keys.loaded == keys.expected;
    let up = database && present.is_ok() && all;
    let reason = present.err().map(|refusal| refusal.reason.name());
    let keys = json!({
        "keys-expected": keys.expected,
        "keys-loaded": keys.loaded,
        "error-count": keys.problems.len(),
    });
    let report = json!({
        "status": word(up),
        "outcome": word(up),
        "checks": [
            { "id": "slashing-protection-db-health-check", "status": word(database) },
            {
                "id": "clock-and-anchor-check",
                "status": word(reason.is_none()),
                "data": { "reason": reason },
            },
            { "id": "keys-check", "status": word(all), "data": keys },
        ],
    });
    Health { up, report }
}

async fn answers(duty: &Duty) -> Result<()> {
    let mut conn = duty.db.acquire().await.map_err(pg::error)?;
    roster::answers(&mut conn).await
}

fn word(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}
