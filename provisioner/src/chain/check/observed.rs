//! Probes and what a healthy node looks like.

use std::collections::BTreeSet;

use super::MAX_LIST;
use super::words::is_identifier;
use crate::chain::entry::{ChainEntry, Role};
use crate::chain::error::{Path, Report};
use crate::chain::probe::{Probe, Read, Reading};

/// Metrics of Berth's own that an entry may feed.
const STANDARD: &[&str] = &[
    "berth.node.height",
    "berth.node.head_height",
    "berth.node.distance",
    "berth.node.catching_up",
    "berth.node.peers",
    "berth.node.block_time_unix",
];

/// Most samples that a scrape may pass on, by name.
const MAX_ALLOWED: usize = 256;

pub(super) fn probes(entry: &ChainEntry, report: &mut Report) {
    let list = Path::field("probes");
    report.ensure(entry.probes.len() <= 32, &list, "more than 32 probes", "");
    let mut names = BTreeSet::new();
    for (i, probe) in entry.probes.iter().enumerate().take(32) {
        let path = list.at(i);
        report.ensure(
            is_identifier(probe.name(), 32) && names.insert(probe.name()),
            &path.key("name"),
            "not a name of a probe, or used before",
            "up to 32 of `a-z`, `0-9`, `-`",
        );
        if let Some(text) = probe.url() {
            url(entry, text, &path.key("url"), report);
        }
        report.ensure(
            probe.timeout_s().is_none_or(|s| (1..=30).contains(&s)),
            &path.key("timeout_s"),
            "out of range",
            "from 1 to 30 seconds",
        );
        report.ensure(
            probe.values().len() <= MAX_LIST,
            &path.key("values"),
            "too many values",
            "",
        );
        for (j, value) in probe.values().iter().enumerate().take(MAX_LIST) {
            reading(value, &path.key("values").at(j), report);
        }
        particulars(entry, probe, &path, report);
    }
    for role in entry.roles() {
        report.ensure(
            entry.probes_of(role).iter().any(Probe::is_liveness),
            &list,
            &format!("no probe says whether a node of the role `{role}` is up"),
            "set `liveness = true` on the one that asks the node itself",
        );
    }
}

/// What only one kind of probe has.
fn particulars(entry: &ChainEntry, probe: &Probe, path: &Path, report: &mut Report) {
    match probe {
        Probe::HttpJson { .. } | Probe::Gpu { .. } => {}
        Probe::JsonRpc { method, params, .. } => {
            report.ensure(
                is_sample_name(method),
                &path.key("method"),
                "not a method",
                "such as `eth_syncing`",
            );
            let scalar = |v: &toml::Value| !(v.is_datetime() || v.is_table() || v.is_array());
            report.ensure(
                params.len() <= 8 && params.iter().all(scalar),
                &path.key("params"),
                "more than 8 values, or tables, lists or dates",
                "text, numbers and booleans",
            );
        }
        Probe::Prometheus {
            allow, labels, map, ..
        } => {
            let plain = |list: &[String]| list.iter().all(|name| is_sample_name(name));
            report.ensure(
                allow.len() <= MAX_ALLOWED && plain(allow),
                &path.key("allow"),
                "more than 256 names, or one that is no name of a sample",
                "such as `cometbft_consensus_height`",
            );
            report.ensure(
                labels.len() <= 8 && plain(labels),
                &path.key("labels"),
                "more than 8 labels, or one that is no label",
                "",
            );
            report.ensure(
                map.len() <= MAX_LIST,
                &path.key("map"),
                "too many names",
                "",
            );
            for (sample, name) in map.iter().take(MAX_LIST) {
                let path = path.key("map").key(sample);
                report.ensure(is_sample_name(sample), &path, "not a name of a sample", "");
                metric(name, &path, report);
            }
        }
        Probe::Disk { volume, .. } => report.ensure(
            entry
                .components
                .iter()
                .any(|c| c.volumes.contains_key(volume)),
            &path.key("volume"),
            "no component has that volume",
            "name a volume of `[components.volumes]`",
        ),
    }
}

/// A probe asks a declared port of a component, and nothing else.
fn url(entry: &ChainEntry, url: &str, path: &Path, report: &mut Report) {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let (authority, below) = rest.split_once('/').unwrap_or((rest, ""));
    let declared = authority.split_once(':').is_some_and(|(host, port)| {
        entry
            .ports
            .iter()
            .any(|p| p.component == host && p.number.to_string() == port)
    });
    report.ensure(
        declared,
        path,
        "does not name a port of the entry",
        "write `http://<component>:<number>/…` with a component and number of `[[ports]]`",
    );
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-?&=%,".contains(c);
    report.ensure(
        url.len() <= 300 && below.chars().all(plain),
        path,
        "longer than 300 bytes, or with characters that no path has",
        "",
    );
}

fn reading(value: &Reading, path: &Path, report: &mut Report) {
    metric(&value.metric, &path.key("metric"), report);
    let pointer = &value.pointer;
    report.ensure(
        pointer.len() <= 200
            && (pointer.is_empty() || pointer.starts_with('/'))
            && !pointer.chars().any(char::is_control),
        &path.key("pointer"),
        "not a JSON pointer",
        "such as `/result/sync_info/latest_block_height`",
    );
    let stars = pointer.split('/').filter(|s| *s == "*").count();
    report.ensure(
        stars == usize::from(value.read == Read::Max),
        &path.key("pointer"),
        "the segment `*` stands once with `as = \"max\"`, and nowhere else",
        "",
    );
    report.ensure(
        value.unit.len() <= 20 && value.unit.chars().all(|c| c.is_ascii_graphic()),
        &path.key("unit"),
        "not a unit",
        "as UCUM writes it, such as `By` or `s`",
    );
}

/// A metric of the chain's own, or one of Berth's that an entry may feed.
fn metric(name: &str, path: &Path, report: &mut Report) {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 100
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c));
    report.ensure(
        plain,
        path,
        "not a name of a metric",
        "up to 100 of `a-z`, `0-9`, `.`, `_`",
    );
    report.ensure(
        !name.starts_with("berth.") || STANDARD.contains(&name),
        path,
        "not a metric of Berth's that a probe may feed",
        &format!("those are {}", STANDARD.join(", ")),
    );
}

fn is_sample_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_:.".contains(c))
}

pub(super) fn health(entry: &ChainEntry, report: &mut Report) {
    let path = Path::field("health");
    report.ensure(
        entry.health.min_disk_free_percent <= 90,
        &path.key("min_disk_free_percent"),
        "out of range",
        "from 0 to 90",
    );
    report.ensure(
        (15..=3600).contains(&entry.health.silence_s),
        &path.key("silence_s"),
        "out of range",
        "from 15 to 3600 seconds",
    );
}

/// Each metric of a duty is fed by a probe of the validator, as one number.
pub(super) fn duty(entry: &ChainEntry, report: &mut Report) {
    let Some(duty) = &entry.duty else { return };
    let path = Path::field("duty");
    let probes = entry.probes_of(Role::Validator);
    for (field, metric) in duty.metrics() {
        report.ensure(
            probes.iter().any(|probe| feeds(probe, metric)),
            &path.key(field),
            "no probe of the role `validator` feeds that metric without labels",
            "name a metric of `values`, `map` or `allow` of a probe without `labels`",
        );
    }
    report.ensure(
        (60..=6 * 3600).contains(&duty.window_s),
        &path.key("window_s"),
        "out of range",
        "from 60 seconds to six hours",
    );
}

fn feeds(probe: &Probe, metric: &str) -> bool {
    probe.values().iter().any(|value| value.metric == metric)
        || match probe {
            Probe::Prometheus {
                allow, labels, map, ..
            } => {
                map.values().any(|name| name == metric)
                    || (labels.is_empty() && allow.iter().any(|name| name == metric))
            }
            Probe::HttpJson { .. }
            | Probe::JsonRpc { .. }
            | Probe::Disk { .. }
            | Probe::Gpu { .. } => false,
        }
}

#[cfg(test)]
mod tests {
    use crate::chain::tests::ENTRY;
    use crate::chain::{ChainEntry, Invalid};

    /// A validator that tells its duty, with a part of it replaced.
    fn entry(from: &str, to: &str) -> Result<ChainEntry, Invalid> {
        const SIGNS: &str = r#"
[requirements.validator]

[[probes]]
kind = "prometheus"
name = "duty"
url = "http://node:26657/metrics"
allow = ["hits", "misses", "errors"]
map = { duties = "example.active" }

[duty]
done = "hits"
missed = "misses"
in_set = "example.active"
refused = "errors"
unready = "berth.node.height"
window_s = 60
"#;
        assert!(SIGNS.contains(from), "{from}");
        let text = format!("{ENTRY}{}", SIGNS.replacen(from, to, 1));
        ChainEntry::parse(&text.replace("[\"full\"]", "[\"full\", \"validator\"]"))
    }

    #[test]
    fn a_duty_names_metrics_that_probes_feed() {
        let duty = entry("", "").unwrap().duty.unwrap();
        assert_eq!((duty.done.as_str(), duty.window_s), ("hits", 60));
        assert_eq!(duty.metrics().len(), 5);
        for (from, to, field) in [
            ("done = \"hits\"", "done = \"hit\"", "duty.done"),
            (
                "example.active\"\nrefused",
                "duties\"\nrefused",
                "duty.in_set",
            ),
            ("\"berth.node.height\"", "\"berth.node.up\"", "duty.unready"),
            ("window_s = 60", "window_s = 59", "duty.window_s"),
            ("window_s = 60", "window_s = 21601", "duty.window_s"),
            ("map =", "labels = [\"index\"]\nmap =", "duty.done"),
        ] {
            let Invalid(problems) = entry(from, to).unwrap_err();
            assert_eq!(problems[0].field, field, "{to}: {}", problems[0]);
        }
    }
}
