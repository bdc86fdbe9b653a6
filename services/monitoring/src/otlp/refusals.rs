//! From log records of the signer to what it refused. The rest of a log is not
//! read here.

use crate::domain::Refused;
use berth_core::{Fence, NodeId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use std::collections::BTreeMap;

/// The scope of those records: the part of the signer that answers machines.
const SCOPE: &str = "berth_signer::web3signer";
/// Longest reason, key and detail, in characters; key and detail are in part
/// what a machine wrote.
const MAX: (usize, usize, usize) = (64, 128, 500);

/// What an export of the signer says that it refused, each node and reason once.
#[must_use]
pub(super) fn refusals(export: &ExportLogsServiceRequest) -> Vec<Refused> {
    let mut all: BTreeMap<(NodeId, String), Refused> = BTreeMap::new();
    let scopes = export.resource_logs.iter().flat_map(|r| &r.scope_logs);
    let ours = scopes.filter(|logs| {
        let scope = logs.scope.as_ref().map_or("", |scope| scope.name.as_str());
        scope == SCOPE || scope.starts_with("berth_signer::web3signer::")
    });
    for refused in ours.flat_map(|logs| &logs.log_records).filter_map(refusal) {
        let key = (refused.node_id, refused.reason.clone());
        let before = all.get(&key).map_or(0, |before| before.count);
        let count = before.saturating_add(refused.count);
        all.insert(key, Refused { count, ..refused });
    }
    all.into_values().collect()
}

/// A record that names node and reason.
fn refusal(record: &LogRecord) -> Option<Refused> {
    Some(Refused {
        node_id: text(record, "node_id", MAX.1)?.parse().ok()?,
        reason: text(record, "reason", MAX.0).filter(|reason| !reason.is_empty())?,
        count: 1,
        fence: Fence::from(text(record, "fence", MAX.1)?.parse::<u64>().ok()?),
        public_key: text(record, "public_key", MAX.1).unwrap_or_default(),
        detail: text(record, "detail", MAX.2).unwrap_or_default(),
    })
}

/// A text of a record, cut and without control characters.
fn text(record: &LogRecord, key: &str, max: usize) -> Option<String> {
    let attribute = record.attributes.iter().find(|known| known.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => {
            Some(text.chars().filter(|c| !c.is_control()).take(max).collect())
        }
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(_)
        | Value::DoubleValue(_)
        | Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => None,
    }
}
