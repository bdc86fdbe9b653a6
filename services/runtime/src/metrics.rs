//! Numbers that leave by OTLP and, where a service has a page for it, as
//! Prometheus text. Each has one label whose values are known beforehand, so
//! that nobody outside can make more of them.

use opentelemetry::{KeyValue, global};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// A named counter or gauge with one label.
#[derive(Debug)]
pub struct Metric {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: Vec<(&'static str, AtomicU64)>,
}

impl Metric {
    /// A number that only grows. Made after telemetry has begun.
    pub fn counter(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Arc<Self> {
        let metric = Arc::new(Self::new(Kind::Counter, (name, help), label, values));
        let observed = Arc::clone(&metric);
        global::meter("berth")
            .u64_observable_counter(name)
            .with_description(help)
            .with_callback(move |observer| {
                observed.each(|number, label| observer.observe(number, &[label]));
            })
            .build();
        metric
    }

    /// A number that goes up and down. Made after telemetry has begun.
    pub fn gauge(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Arc<Self> {
        let metric = Arc::new(Self::new(Kind::Gauge, (name, help), label, values));
        let observed = Arc::clone(&metric);
        global::meter("berth")
            .u64_observable_gauge(name)
            .with_description(help)
            .with_callback(move |observer| {
                observed.each(|number, label| observer.observe(number, &[label]));
            })
            .build();
        metric
    }

    fn new(
        kind: Kind,
        (name, help): (&'static str, &'static str),
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let zero = |value| (value, AtomicU64::new(0));
        Self {
            kind,
            name,
            help,
            label,
            values: values.into_iter().map(zero).collect(),
        }
    }

    /// Counts `more` for a value of the label; one that is not known counts
    /// nowhere.
    pub fn add(&self, value: &str, more: u64) {
        if let Some(number) = self.number(value) {
            number.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Sets the number of a value of the label; for one that is not known it
    /// does nothing.
    pub fn set(&self, value: &str, now: u64) {
        if let Some(number) = self.number(value) {
            number.store(now, Ordering::Relaxed);
        }
    }

    /// The metric as Prometheus reads it: dots become underscores, and the name
    /// of a counter ends with `_total`.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut name = self.name.replace('.', "_");
        let kind = match self.kind {
            Kind::Counter => {
                name.push_str("_total");
                "counter"
            }
            Kind::Gauge => "gauge",
        };
        let (help, label) = (self.help, self.label);
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (value, number) in &self.values {
            let number = number.load(Ordering::Relaxed);
            // Writing to a string never fails.
            writeln!(text, "{name}{{{label}=\"{value}\"}} {number}").ok();
        }
        text
    }

    fn number(&self, value: &str) -> Option<&AtomicU64> {
        let found = self.values.iter().find(|(known, _)| *known == value);
        found.map(|(_, number)| number)
    }

    fn each(&self, observe: impl Fn(u64, KeyValue)) {
        for (value, number) in &self.values {
            observe(
                number.load(Ordering::Relaxed),
                KeyValue::new(self.label, *value),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Metric;

    #[test]
    fn a_counter_counts_what_is_known_and_nothing_else() {
        let metric = Metric::counter("signer.refusals", "Refused.", "reason", ["A", "B"]);
        metric.add("A", 2);
        metric.add("A", 1);
        metric.add("C", 9);
        assert_eq!(
            metric.prometheus(),
            "# HELP signer_refusals_total Refused.\n\
             # TYPE signer_refusals_total counter\n\
             signer_refusals_total{reason=\"A\"} 3\n\
             signer_refusals_total{reason=\"B\"} 0\n"
        );
    }

    #[test]
    fn a_gauge_says_what_was_set_last() {
        let metric = Metric::gauge("signer.keys", "Keys.", "state", ["expected", "loaded"]);
        metric.set("loaded", 7);
        metric.set("loaded", 5);
        metric.set("lost", 1);
        assert_eq!(
            metric.prometheus(),
            "# HELP signer_keys Keys.\n\
             # TYPE signer_keys gauge\n\
             signer_keys{state=\"expected\"} 0\n\
             signer_keys{state=\"loaded\"} 5\n"
        );
    }
}
