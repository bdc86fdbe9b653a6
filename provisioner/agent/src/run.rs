//! The running agent: its tasks, which end together.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::backoff::Backoff;
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::config::Config;
use crate::export::Exporter;
use crate::heartbeat::Heartbeat;
use crate::identity::Store;
use crate::otlp;
use crate::peer::Peer;
use crate::probe::{self, Round};
use crate::renew::{Renewer, Watcher};
use crate::sample::Sample;
use crate::signer::{Carrier, Limits};

/// Oldest samples that are kept while the way is cut.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);
/// How long the last samples and requests may take once the agent is told to stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often the agent looks and tries.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Waits between tries to send.
    pub export: Backoff,
    /// Waits between tries to renew.
    pub renew: Backoff,
    /// Time between two looks at the certificate file.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            export: Backoff {
                first: seconds(1),
                longest: seconds(60),
            },
            renew: Backoff {
                first: seconds(10),
                longest: seconds(600),
            },
            look: seconds(1),
        }
    }
}

/// Runs until `stop` ends, then sends what it can and returns, within seconds.
///
/// # Errors
/// When the files of the identity cannot be used, or a task ends by itself: the
/// container is then restarted.
pub async fn run(config: Config, pace: Pace, stop: impl Future<Output = ()>) -> Result<()> {
    let store = Store::new(config.identity.clone());
    store
        .csr()
        .context("the folder of the identity cannot be used")?;
    let authority = store.authority()?;
    let (sender, identities) = watch::channel(None);
    let buffer = Arc::new(Buffer::new(
        usize::try_from(config.buffer_bytes).unwrap_or(usize::MAX),
        MAX_AGE,
    ));
    let clock = Arc::new(Clock::default());
    let control = config.control.clone();
    let peer = |endpoint, server_name| Peer {
        endpoint,
        server_name,
        authority: authority.clone(),
    };

    let (stopping, stopped) = watch::channel(());
    let mut carrying = JoinSet::new();
    if let Some(signer) = &config.signer {
        let listener = TcpListener::bind(signer.listen)
            .await
            .with_context(|| format!("cannot listen on {}", signer.listen))?;
        let endpoints = signer.endpoints.iter();
        let peers = endpoints.map(|url| peer(url.clone(), signer.server_name.clone()));
        let carrier = Carrier::new(peers.collect(), identities.clone(), Limits::default())
            .of(&config.node.placement_id);
        carrying.spawn(carrier.run(listener, stopped));
    }
    let exporter = Exporter {
        peer: peer(control.otlp_endpoint, control.otlp_server_name),
        identities: identities.clone(),
        buffer: buffer.clone(),
        clock: clock.clone(),
        backoff: pace.export,
    };
    let renewer = Renewer {
        peer: peer(control.renew_endpoint, control.renew_server_name),
        store: store.clone(),
        identities,
        renew_after: Duration::from_secs(config.identity.renew_after_s.into()),
        clock: clock.clone(),
        backoff: pace.renew,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(
        Watcher {
            store,
            identities: sender,
            every: pace.look,
        }
        .run(),
    );
    tasks.spawn(renewer.run());
    tasks.spawn(probe_for_ever(config, buffer.clone(), clock));
    let mut sending = JoinSet::new();
    sending.spawn(exporter.run());

    tokio::select! {
        () = stop => {}
        ended = tasks.join_next() => bail!("a task of the agent ended: {ended:?}"),
        ended = sending.join_next() => bail!("the task that sends ended: {ended:?}"),
        Some(ended) = carrying.join_next() => bail!("the task that carries ended: {ended:?}"),
    }
    buffer.close();
    drop(stopping);
    let farewell = async { tokio::join!(sending.join_next(), carrying.join_next()) };
    if timeout(FAREWELL, farewell).await.is_err() {
        tracing::info!("stopping with samples unsent or requests unanswered");
    }
    Ok(())
}

/// Measures at every interval, into the buffer.
async fn probe_for_ever(config: Config, buffer: Arc<Buffer>, clock: Arc<Clock>) {
    let heartbeat = Heartbeat::new(config.state_dir());
    let mut ticks = interval(config.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = BTreeSet::new();
    loop {
        ticks.tick().await;
        let mut round = probe::round(&config).await;
        tell(&round, &mut failing);
        round.samples.extend(
            clock
                .offset()
                .map(|off| Sample::gauge("berth.clock.offset", off)),
        );
        let dropped = buffer.dropped() as f64;
        round
            .samples
            .push(Sample::gauge("berth.agent.dropped", dropped).counter());
        let samples = round.samples.len() as u64;
        let request = otlp::request(&config.resource, SystemTime::now(), round.samples);
        buffer.push(Instant::now(), samples, request.encode_to_vec().into());
        if let Err(error) = heartbeat.beat() {
            tracing::warn!(%error, "cannot write the heartbeat");
        }
    }
}

/// Logs each probe that began to fail or came back.
fn tell(round: &Round, failing: &mut BTreeSet<String>) {
    for (probe, failure) in &round.outcomes {
        match failure {
            Some(reason) if failing.insert(probe.clone()) => {
                tracing::warn!(probe, %reason, "probe fails");
            }
            None if failing.remove(probe) => tracing::info!(probe, "probe succeeds again"),
            _ => {}
        }
    }
}
