//! From an export to points, within limits. What is beyond them is counted and
//! removed, so that it is not passed on either; nothing in an export is an error.

use crate::store::exports::LeftOut;
use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use std::collections::HashSet;

/// Most points of one export.
const MAX_POINTS: usize = 5000;
/// Longest name, unit, label key and label value, in bytes.
const MAX_TEXT: usize = 128;
/// Most labels of a point.
const MAX_LABELS: usize = 16;
/// Most bytes of all labels of a point together: an index holds them.
const MAX_LABEL_BYTES: usize = 2048;
/// How old a sample may be: what an agent's buffer holds, and some.
const OLDEST: TimeDelta = TimeDelta::minutes(30);
/// How far in the future: a clock that is off.
const NEWEST: TimeDelta = TimeDelta::minutes(5);

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name of the series.
    pub name: String,
    /// Labels as `key=value`, in order, with commas between.
    pub labels: String,
    /// Unit.
    pub unit: String,
    /// When it was measured, by the machine's clock within bounds, else by ours.
    pub time: DateTime<Utc>,
    /// A finite number.
    pub value: f64,
}

/// Takes the points of an export. What is beyond the limits is removed from it
/// and counted, and so is text that nothing here reads.
#[must_use]
pub(super) fn take(
    export: &mut ExportMetricsServiceRequest,
    now: DateTime<Utc>,
) -> (Vec<Point>, i64) {
    let mut points = Vec::new();
    let mut rejected = 0;
    for metric in metrics(export) {
        metric.description.clear();
        metric.metadata.clear();
        let (name, unit) = (metric.name.clone(), metric.unit.clone());
        rejected += retain(metric, |number| {
            let found = point(&name, &unit, number, now).filter(|_| points.len() < MAX_POINTS);
            number.exemplars.clear();
            let Some(point) = found else { return false };
            number.time_unix_nano = nanos(point.time);
            points.push(point);
            true
        });
    }
    (points, rejected)
}

/// Removes the points of some series; returns how many those were.
pub(super) fn remove(export: &mut ExportMetricsServiceRequest, series: &[LeftOut]) -> i64 {
    if series.is_empty() {
        return 0;
    }
    let named = series.iter().map(|one| (&*one.name, &*one.labels));
    let series: HashSet<(&str, &str)> = named.collect();
    let mut removed = 0;
    for metric in metrics(export) {
        let name = metric.name.clone();
        removed += retain(metric, |number| {
            let labels = labels(&number.attributes).unwrap_or_default();
            !series.contains(&(name.as_str(), labels.as_str()))
        });
    }
    removed
}

fn metrics(export: &mut ExportMetricsServiceRequest) -> impl Iterator<Item = &mut Metric> {
    export
        .resource_metrics
        .iter_mut()
        .flat_map(|resource| &mut resource.scope_metrics)
        .flat_map(|scope| &mut scope.metrics)
}

/// Keeps the numbers of a metric that pass; returns how many points went.
/// Distributions all go: no chart shows them, and no agent sends them.
fn retain(metric: &mut Metric, keep: impl FnMut(&mut NumberDataPoint) -> bool) -> i64 {
    let numbers = match &mut metric.data {
        Some(Data::Gauge(gauge)) => &mut gauge.data_points,
        Some(Data::Sum(sum)) => &mut sum.data_points,
        Some(Data::Histogram(_) | Data::ExponentialHistogram(_) | Data::Summary(_)) | None => {
            return distributions(metric.data.take());
        }
    };
    let before = numbers.len();
    numbers.retain_mut(keep);
    i64::try_from(before - numbers.len()).unwrap_or(i64::MAX)
}

fn distributions(data: Option<Data>) -> i64 {
    let gone = match data {
        Some(Data::Histogram(all)) => all.data_points.len(),
        Some(Data::ExponentialHistogram(all)) => all.data_points.len(),
        Some(Data::Summary(all)) => all.data_points.len(),
        Some(Data::Gauge(_) | Data::Sum(_)) | None => 0,
    };
    i64::try_from(gone).unwrap_or(i64::MAX)
}

fn point(name: &str, unit: &str, number: &NumberDataPoint, now: DateTime<Utc>) -> Option<Point> {
    let value = match number.value? {
        Value::AsDouble(value) => value,
        #[expect(clippy::cast_precision_loss, reason = "charts need no more")]
        Value::AsInt(value) => value as f64,
    };
    let text = |text: &str| {
        let good = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
        good.then(|| text.to_owned())
    };
    Some(Point {
        name: text(name).filter(|name| !name.is_empty())?,
        labels: labels(&number.attributes)?,
        unit: text(unit)?,
        time: time(number.time_unix_nano, now),
        value: Some(value).filter(|value| value.is_finite())?,
    })
}

fn nanos(time: DateTime<Utc>) -> u64 {
    let nanos = time.timestamp_nanos_opt();
    nanos.and_then(|nanos| nanos.try_into().ok()).unwrap_or(0)
}

fn time(nanos: u64, now: DateTime<Utc>) -> DateTime<Utc> {
    let given = i64::try_from(nanos / 1000)
        .ok()
        .and_then(DateTime::from_timestamp_micros);
    given
        .filter(|time| *time >= now - OLDEST && *time <= now + NEWEST)
        // A sample of the future would stay the newest for ever.
        .map_or(now, |time| time.min(now))
}

fn labels(attributes: &[KeyValue]) -> Option<String> {
    if attributes.len() > MAX_LABELS {
        return None;
    }
    let mut pairs = attributes.iter().map(pair).collect::<Option<Vec<_>>>()?;
    pairs.sort();
    Some(pairs.join(",")).filter(|labels| labels.len() <= MAX_LABEL_BYTES)
}

fn pair(attribute: &KeyValue) -> Option<String> {
    let value = match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(flag) => flag.to_string(),
        any_value::Value::DoubleValue(_)
        | any_value::Value::ArrayValue(_)
        | any_value::Value::KvlistValue(_)
        | any_value::Value::BytesValue(_)
        | any_value::Value::StringValueStrindex(_) => return None,
    };
    let good = |text: &str| {
        text.len() <= MAX_TEXT && !text.contains([',', '=']) && !text.chars().any(char::is_control)
    };
    let key = attribute.key.as_str();
    (!key.is_empty() && good(key) && good(&value)).then(|| format!("{key}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::metrics::v1::{Gauge, ResourceMetrics, ScopeMetrics};
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn label(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(value.to_owned())),
            }),
            ..KeyValue::default()
        }
    }

    fn export(name: &str, points: Vec<NumberDataPoint>) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics: vec![ScopeMetrics {
                    metrics: vec![Metric {
                        name: name.to_owned(),
                        data: Some(Data::Gauge(Gauge {
                            data_points: points,
                        })),
                        ..Metric::default()
                    }],
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }

    fn number(value: f64, attributes: Vec<KeyValue>) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            value: Some(Value::AsDouble(value)),
            ..NumberDataPoint::default()
        }
    }

    #[test]
    fn labels_are_in_order_whatever_the_sender_does() {
        let sent = number(1.0, vec![label("b", "2"), label("a", "1")]);
        let (points, rejected) = take(&mut export("x", vec![sent]), now());
        assert_eq!((points[0].labels.as_str(), rejected), ("a=1,b=2", 0));
    }

    #[test]
    fn label_bombs_and_numbers_that_are_none_are_left_out_and_counted() {
        let many = (0..17).map(|n| label(&n.to_string(), "x")).collect();
        let long = vec![label("k", &"x".repeat(129))];
        let forged = vec![label("k", "v,other=1")];
        let large = |n: usize| label(&n.to_string(), &"x".repeat(128));
        let sent = vec![
            number(1.0, many),
            number(1.0, (0..16).map(large).collect()),
            number(1.0, long),
            number(1.0, forged),
            number(f64::NAN, Vec::new()),
            number(2.0, Vec::new()),
        ];
        let mut export = export("x", sent);
        let (points, rejected) = take(&mut export, now());
        assert_eq!((points.len(), rejected), (1, 5));
        assert_eq!(take(&mut export, now()), (points, 0));
    }

    proptest! {
        #[test]
        fn no_time_leaves_the_bounds(nanos in any::<u64>()) {
            let time = time(nanos, now());
            prop_assert!(time >= now() - OLDEST && time <= now());
        }
    }
}
