//! History calls.

use super::{Api, convert, pb};
use crate::store::samples::{self, HistoryQuery};
use crate::store::targets;
use berth_core::{NodeId, Result, Violations};
use berth_runtime::{auth, pg, wire};
use chrono::TimeDelta;
use tonic::Request;

/// Most names in one call.
const NAMES: usize = 100;

pub(super) async fn query(
    api: &Api,
    request: Request<pb::QuerySamplesRequest>,
) -> Result<pb::QuerySamplesResponse> {
    let account = auth::account(&request)?;
    let (node, query) = parse(request.into_inner())?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    targets::get(&mut conn, account, node).await?;
    let rows = samples::history(&mut conn, node, &query).await?;
    Ok(pb::QuerySamplesResponse {
        series: convert::series(rows),
    })
}

fn parse(request: pb::QuerySamplesRequest) -> Result<(NodeId, HistoryQuery)> {
    let mut violations = Violations::default();
    let node = violations.absorb(wire::parse("node_id", &request.node_id))?;
    if request.names.len() > NAMES {
        violations.add("names", format!("at most {NAMES}"));
    }
    for (at, name) in request.names.iter().take(NAMES).enumerate() {
        let field = format!("names[{at}]");
        violations.check(field, berth_core::text(name, convert::MAX_NAME));
    }
    let end = request.end_time.map(|time| wire::time("end_time", time));
    let end = violations.absorb(end.unwrap_or_else(|| Ok(berth_core::now())))?;
    let start = request
        .start_time
        .map(|time| wire::time("start_time", time));
    let hour_before = end.map_or_else(berth_core::now, |end| end - TimeDelta::hours(1));
    let start = violations.absorb(start.unwrap_or(Ok(hour_before)))?;
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        violations.add("start_time", "is after `end_time`");
    }
    let step = request
        .step
        .map(|step| wire::span("step", step, TimeDelta::seconds(1), TimeDelta::hours(6)));
    let step = violations.absorb(step.transpose())?;
    let query = (|| {
        let query = HistoryQuery {
            names: request.names,
            start: start?,
            end: end?,
            step: step?,
        };
        Some((node?, query))
    })();
    violations.finish(query)
}
