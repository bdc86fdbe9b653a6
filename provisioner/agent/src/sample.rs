//! One measured value on its way out.

use std::collections::BTreeMap;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A total that only grows until its source restarts.
    Counter,
}

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the metric, such as `berth.node.height`.
    pub metric: String,
    /// Unit after UCUM; empty when unknown.
    pub unit: String,
    /// What the value is.
    pub kind: Kind,
    /// Attributes, such as `volume`.
    pub attributes: BTreeMap<String, String>,
    /// The value; always finite.
    pub value: f64,
}

impl Sample {
    /// A gauge without attributes, with the unit of the standard metrics.
    #[must_use]
    pub fn gauge(metric: impl Into<String>, value: f64) -> Self {
        let metric = metric.into();
        let unit = standard_unit(&metric).to_owned();
        Self {
            metric,
            unit,
            kind: Kind::Gauge,
            attributes: BTreeMap::new(),
            value,
        }
    }

    /// The same with one attribute more.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(attribute.to_owned(), value.into());
        self
    }

    /// The same as a total that only grows.
    #[must_use]
    pub fn counter(mut self) -> Self {
        self.kind = Kind::Counter;
        self
    }

    /// The same with another unit, unless `unit` is empty.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        if !unit.is_empty() {
            unit.clone_into(&mut self.unit);
        }
        self
    }
}

/// Unit of a standard metric; empty for all others.
fn standard_unit(metric: &str) -> &'static str {
    match metric {
        "berth.node.up" | "berth.node.catching_up" | "berth.probe.up" => "1",
        "berth.node.height" | "berth.node.head_height" | "berth.node.distance" => "{block}",
        "berth.node.peers" => "{peer}",
        "berth.node.block_time_unix" | "berth.clock.offset" => "s",
        "berth.disk.size" | "berth.disk.free" => "By",
        "berth.gpu.count" => "{gpu}",
        "berth.gpu.utilization" => "%",
        "berth.gpu.memory.used" | "berth.gpu.memory.total" => "By",
        "berth.gpu.temperature" => "Cel",
        "berth.gpu.power" => "W",
        "berth.agent.dropped" => "{sample}",
        _ => "",
    }
}
