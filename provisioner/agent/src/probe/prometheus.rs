//! A scrape: what a node's Prometheus page says of the names that a chain allows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::fetch::fetch;
use super::text::{Line, lines};
use super::{MAX_SERIES, ProbeError};
use crate::config::Prometheus;
use crate::sample::{Kind, Sample};

/// Longest page. Large nodes write some 2 MiB.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Scrapes a page and keeps what the probe names.
///
/// # Errors
/// When there is no successful answer or it is no text.
pub async fn scrape(probe: &Prometheus) -> Result<Vec<Sample>, ProbeError> {
    let body = fetch(&probe.url, None, MAX_BODY).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| ProbeError::Malformed("the page is no UTF-8 text".to_owned()))?;
    Ok(select(probe, text))
}

/// Name and kept labels of a series that goes out.
type Series = (String, BTreeMap<String, String>);

/// The named samples of a page: equal series summed, at most [`MAX_SERIES`].
fn select(probe: &Prometheus, text: &str) -> Vec<Sample> {
    let mut sums: BTreeMap<Series, (Kind, f64)> = BTreeMap::new();
    for line in lines(text).filter(|line| line.value.is_finite()) {
        if let Some(metric) = probe.map.get(line.name) {
            add(
                &mut sums,
                (metric.clone(), BTreeMap::new()),
                Kind::Gauge,
                line.value,
            );
        }
        if probe.allow.contains(line.name) {
            let series = (line.name.to_owned(), kept(probe, &line));
            add(&mut sums, series, line.kind, line.value);
        }
    }
    sums.into_iter()
        .filter(|(_, (_, value))| value.is_finite())
        .map(|((metric, attributes), (kind, value))| {
            let sample = Sample::gauge(metric, value);
            Sample {
                kind,
                attributes,
                ..sample
            }
        })
        .collect()
}

fn kept(probe: &Prometheus, line: &Line<'_>) -> BTreeMap<String, String> {
    if probe.labels.is_empty() {
        return BTreeMap::new();
    }
    line.labels()
        .filter(|(name, _)| probe.labels.contains(*name))
        .map(|(name, value)| (name.to_owned(), value.into_owned()))
        .collect()
}

fn add(sums: &mut BTreeMap<Series, (Kind, f64)>, series: Series, kind: Kind, value: f64) {
    let full = sums.len() >= MAX_SERIES;
    match sums.entry(series) {
        Entry::Occupied(mut sum) => sum.get_mut().1 += value,
        Entry::Vacant(empty) if !full => {
            empty.insert((kind, value));
        }
        Entry::Vacant(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// Lines that a CometBFT 1.0.1 node wrote.
    const COMET: &str = include_str!("../../tests/agent/data/cometbft.txt");

    fn probe(allow: &[&str], labels: &[&str], map: &[(&str, &str)]) -> Prometheus {
        Prometheus {
            name: "metrics".into(),
            url: "http://node:26660/metrics".parse().unwrap(),
            liveness: false,
            timeout_s: 3,
            allow: allow.iter().map(ToString::to_string).collect(),
            labels: labels.iter().map(ToString::to_string).collect(),
            map: map
                .iter()
                .map(|(from, to)| (from.to_string(), to.to_string()))
                .collect(),
        }
    }

    #[test]
    fn only_what_is_named_passes_and_other_labels_are_summed_away() {
        let bytes = "cometbft_p2p_message_receive_bytes_total";
        let samples = select(&probe(&[bytes], &["message_type"], &[]), COMET);
        assert_eq!(samples.len(), 2);
        assert!(samples.iter().all(|sample| sample.kind == Kind::Counter));
        let types: Vec<_> = samples
            .iter()
            .map(|sample| &sample.attributes["message_type"])
            .collect();
        assert_eq!(types, ["v1_HasVote", "v1_Vote"]);
        let all = select(&probe(&[bytes], &[], &[]), COMET);
        assert_eq!(all.len(), 1);
        assert!(all[0].attributes.is_empty());
        let sum: f64 = samples.iter().map(|sample| sample.value).sum();
        assert_eq!((all[0].value, sum), (7667.0, 7667.0));
    }

    #[test]
    fn a_sample_becomes_the_standard_metric_that_it_is_mapped_to() {
        let map = [("cometbft_p2p_peers", "berth.node.peers")];
        let samples = select(&probe(&[], &[], &map), COMET);
        assert_eq!(samples, [Sample::gauge("berth.node.peers", 1.0)]);
    }

    #[test]
    fn a_page_that_grows_without_end_yields_a_bounded_number_of_series() {
        let mut page = String::new();
        for id in 0..10_000 {
            writeln!(page, "m{{id=\"{id}\"}} 1").unwrap();
        }
        page.push_str("m 7\nm NaN\n");
        assert_eq!(
            select(&probe(&["m"], &["id"], &[]), &page).len(),
            MAX_SERIES
        );
    }
}
