//! The measurements, and one round of all of them.
//!
//! Each probe ends within its time-out and yields at most [`MAX_SERIES`] samples,
//! all together at most [`MAX_ROUND`], whatever they talk to. A probe that fails
//! yields none.

pub mod disk;
pub mod fetch;
pub mod gpu;
pub mod json;
pub mod prometheus;
pub mod text;

use std::collections::BTreeMap;
use std::path::Path;

use futures::stream::{self, StreamExt};
use thiserror::Error;
use tokio::time::timeout;

use crate::config::{Config, Probe};
use crate::sample::Sample;

/// Most samples of one probe in one round.
pub const MAX_SERIES: usize = 500;

/// Most samples of all probes in one round; `berth.probe.up` comes in any case.
pub const MAX_ROUND: usize = 2000;

/// Probes that run at the same time: bounds memory, since each may hold an answer.
const CONCURRENCY: usize = 4;

/// Why a probe failed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It took longer than its `timeout_s`.
    #[error("no answer in time")]
    TimedOut,
    /// Nobody listens, or the name is unknown.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The answer is not HTTP, or broke off.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The answer broke off or is longer than it may be.
    #[error("the answer breaks off or is longer than {0} bytes")]
    Body(usize),
    /// The answer's status is not a success.
    #[error("status {0}")]
    Status(u16),
    /// The answer is not what the probe reads.
    #[error("{0}")]
    Malformed(String),
    /// The file system or a program says no.
    #[error("{0}")]
    Local(String),
}

/// What one round measured.
#[derive(Debug, Default)]
pub struct Round {
    /// The samples, `berth.node.up` and `berth.probe.up` among them.
    pub samples: Vec<Sample>,
    /// Each probe with its failure.
    pub outcomes: BTreeMap<String, Option<ProbeError>>,
}

/// Runs all probes once.
pub async fn round(config: &Config) -> Round {
    let measurements: Vec<_> = config
        .probes
        .iter()
        .map(|probe| async move { (probe, measure(probe, &config.volumes).await) })
        .collect();
    let mut done = stream::iter(measurements).buffer_unordered(CONCURRENCY);
    let mut round = Round::default();
    let mut alive = None;
    while let Some((probe, result)) = done.next().await {
        if probe.liveness() {
            alive = Some(alive.unwrap_or(true) && result.is_ok());
        }
        let up = Sample::gauge("berth.probe.up", truth(result.is_ok()));
        round.samples.push(up.with("probe", probe.name()));
        let failure = match result {
            Ok(mut samples) => {
                let room = MAX_ROUND.saturating_sub(round.samples.len());
                samples.truncate(room.min(MAX_SERIES));
                round.samples.append(&mut samples);
                None
            }
            Err(error) => Some(error),
        };
        round.outcomes.insert(probe.name().to_owned(), failure);
    }
    if let Some(alive) = alive {
        round
            .samples
            .push(Sample::gauge("berth.node.up", truth(alive)));
    }
    round
}

/// Runs one probe.
async fn measure(probe: &Probe, volumes: &Path) -> Result<Vec<Sample>, ProbeError> {
    let work = async {
        match probe {
            Probe::HttpJson(probe) => json::http(probe).await,
            Probe::JsonRpc(probe) => json::rpc(probe).await,
            Probe::Prometheus(probe) => prometheus::scrape(probe).await,
            Probe::Disk(probe) => disk::measure(volumes, &probe.volume).await,
            Probe::Gpu(_) => gpu::measure(Path::new(gpu::PROGRAM)).await,
        }
    };
    timeout(probe.timeout(), work)
        .await
        .unwrap_or(Err(ProbeError::TimedOut))
}

const fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
