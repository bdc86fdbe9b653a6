//! How far a pull is, from Docker's own words.

use crate::error::said;
use bollard::models::CreateImageInfo;
use std::collections::BTreeMap;

/// Most layers that are counted; a machine may name as many as it likes.
const MAX_LAYERS: usize = 512;

/// Share of a layer that is done, in thousandths, by layer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    layers: BTreeMap<String, u64>,
    percent: u8,
}

impl Progress {
    /// Takes one message; what to tell when the percentage grew.
    pub(super) fn step(&mut self, info: &CreateImageInfo) -> Option<(u8, String)> {
        let (id, status) = (info.id.as_deref()?, info.status.as_deref()?);
        let detail = info.progress_detail.as_ref();
        let current = detail.and_then(|d| d.current).unwrap_or_default();
        let total = detail.and_then(|d| d.total).unwrap_or_default();
        // Fetching is the larger part.
        let done = match status {
            "Pulling fs layer" | "Waiting" => 0,
            "Downloading" => share(current, total) * 7 / 10,
            "Verifying Checksum" | "Download complete" => 700,
            "Extracting" => 700 + share(current, total) * 3 / 10,
            "Pull complete" | "Already exists" => 1000,
            _ => return None,
        };
        if self.layers.len() < MAX_LAYERS || self.layers.contains_key(id) {
            self.layers.insert(said(id), done);
        }
        let sum: u64 = self.layers.values().sum();
        let percent = sum / (10 * self.layers.len().max(1) as u64);
        let percent = u8::try_from(percent).unwrap_or(100).min(99);
        if percent <= self.percent {
            return None;
        }
        self.percent = percent;
        let ready = self.layers.values().filter(|&&done| done == 1000).count();
        let text = format!("{ready} of {} layers", self.layers.len());
        Some((percent, text))
    }
}

fn share(current: i64, total: i64) -> u64 {
    match (u64::try_from(current), u64::try_from(total)) {
        (Ok(current), Ok(total)) if total > 0 => current.min(total).saturating_mul(1000) / total,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;
    use proptest::prelude::*;

    fn info(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn a_pull_of_two_layers_moves_forward() {
        let mut progress = Progress::default();
        progress.step(&info("a", "Pulling fs layer", 0, 0));
        progress.step(&info("b", "Already exists", 0, 0));
        let told = progress.step(&info("a", "Downloading", 50, 100));
        assert_eq!(told, Some((67, "1 of 2 layers".to_owned())));
        let told = progress.step(&info("a", "Pull complete", 0, 0));
        assert_eq!(told, Some((99, "2 of 2 layers".to_owned())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_numbers_of_a_machine_make_more_than_99_percent(
            steps in prop::collection::vec(
                ("[a-c]", prop::sample::select(vec!["Downloading", "Extracting", "Pull complete"]),
                 any::<i64>(), any::<i64>()), 0..20)
        ) {
            let mut progress = Progress::default();
            let mut last = 0;
            for (id, status, current, total) in steps {
                if let Some((percent, _)) = progress.step(&info(&id, status, current, total)) {
                    prop_assert!(percent > last && percent <= 99);
                    last = percent;
                }
            }
        }
    }
}
