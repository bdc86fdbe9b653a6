//! Samples as an OTLP request.

use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::sample::{Kind, Sample};

/// Longest value of an attribute; the rest is cut.
const MAX_ATTRIBUTE: usize = 256;

/// The request that carries what one round measured.
#[must_use]
pub fn request(
    resource: &BTreeMap<String, String>,
    at: SystemTime,
    samples: Vec<Sample>,
) -> ExportMetricsServiceRequest {
    let time_unix_nano = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        });
    let mut metrics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sample in samples {
        metrics
            .entry((sample.metric, sample.unit, sample.kind))
            .or_default()
            .push(NumberDataPoint {
                attributes: attributes(&sample.attributes),
                time_unix_nano,
                value: Some(number_data_point::Value::AsDouble(sample.value)),
                ..NumberDataPoint::default()
            });
    }
    let metrics = metrics
        .into_iter()
        .map(|((name, unit, kind), points)| Metric {
            name,
            unit,
            data: Some(data(kind, points)),
            ..Metric::default()
        })
        .collect();
    let scope = InstrumentationScope {
        name: "berth-agent".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: attributes(resource),
        ..Resource::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn data(kind: Kind, data_points: Vec<NumberDataPoint>) -> metric::Data {
    match kind {
        Kind::Gauge => metric::Data::Gauge(Gauge { data_points }),
        Kind::Counter => metric::Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
    }
}

fn attributes(pairs: &BTreeMap<String, String>) -> Vec<KeyValue> {
    pairs
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.clone(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(cut(value))),
            }),
            ..KeyValue::default()
        })
        .collect()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_ATTRIBUTE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_share_it_and_long_attributes_are_cut() {
        let samples = vec![
            Sample::gauge("berth.disk.free", 1.0).with("volume", "data"),
            Sample::gauge("berth.disk.free", 2.0).with("volume", "é".repeat(200)),
            Sample::gauge("berth.agent.dropped", 3.0).counter(),
        ];
        let sent = request(&BTreeMap::new(), SystemTime::now(), samples);
        let metrics = &sent.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(metrics.len(), 2);
        let Some(metric::Data::Sum(sum)) = &metrics[0].data else {
            panic!("dropped is a sum")
        };
        assert!(sum.is_monotonic);
        assert_eq!(
            (metrics[1].unit.as_str(), metrics[1].name.as_str()),
            ("By", "berth.disk.free")
        );
        let Some(metric::Data::Gauge(gauge)) = &metrics[1].data else {
            panic!("free is a gauge")
        };
        assert_eq!(gauge.data_points.len(), 2);
        let value = gauge.data_points[1].attributes[0]
            .value
            .clone()
            .unwrap()
            .value
            .unwrap();
        assert_eq!(value, any_value::Value::StringValue("é".repeat(128)));
    }
}
