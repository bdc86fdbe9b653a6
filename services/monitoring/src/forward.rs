//! Passing on what is received to the operator's collector. The queue is
//! bounded: what does not fit is dropped and counted, and receiving never waits.

use crate::config::ForwardConfig;
use berth_core::{Error, Result};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

/// Most exports that wait.
const QUEUE: usize = 8192;
/// Most bytes that wait.
const BYTES: usize = 64 << 20;
/// Longest wait between tries.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest file with authorities, in bytes.
const MAX_AUTHORITY: usize = 1 << 20;
/// How often an export is tried that the collector answers and refuses.
const TRIES: u32 = 5;

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Logs.
    Logs,
    /// Traces.
    Traces,
}

/// One export on its way, encoded, so that what it weighs is known.
#[derive(Debug)]
struct Export {
    signal: Signal,
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// The way to the collector; cheap to clone.
#[derive(Debug, Clone)]
pub struct Forward {
    queue: Option<mpsc::Sender<Export>>,
    room: Arc<Semaphore>,
    dropped: Dropped,
}

impl Forward {
    /// The way to the configured collector, or to nowhere; the future does the
    /// sending and is a task of the service.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when the endpoint or its authority cannot be used.
    pub fn start(
        config: &ForwardConfig,
        stop: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let channel = channel(config)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let forward = Self {
            queue: channel.is_some().then_some(sender),
            room: Arc::new(Semaphore::new(BYTES)),
            dropped: Dropped::default(),
        };
        let dropped = forward.dropped.clone();
        let task = async move {
            match channel {
                Some(channel) => {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = send_all(channel, receiver, dropped) => {}
                    }
                }
                None => stop.cancelled().await,
            }
        };
        Ok((forward, task))
    }

    /// Whether there is a collector.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Puts an export into the queue, or drops it when the queue is full.
    pub fn send(&self, signal: Signal, export: &impl Message) {
        let Some(queue) = &self.queue else { return };
        let size = u32::try_from(export.encoded_len()).unwrap_or(u32::MAX);
        let queued = Arc::clone(&self.room)
            .try_acquire_many_owned(size)
            .ok()
            .is_some_and(|room| {
                let export = Export {
                    signal,
                    bytes: export.encode_to_vec(),
                    _room: room,
                };
                queue.try_send(export).is_ok()
            });
        if !queued {
            self.dropped.one("the queue is full");
        }
    }

    /// How many exports were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.0.load(Ordering::Relaxed)
    }
}

/// Counts the exports that never reached the collector.
#[derive(Debug, Clone, Default)]
struct Dropped(Arc<AtomicU64>);

impl Dropped {
    fn one(&self, reason: &str) {
        let dropped = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        // Not a line for each: when the collector is away, many come.
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, reason, "exports for the collector were dropped");
        }
    }
}

fn channel(config: &ForwardConfig) -> Result<Option<Channel>> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let mut endpoint = Endpoint::from_shared(config.endpoint.clone())
        .map_err(|error| Error::internal(format!("monitoring.forward.endpoint: {error}")))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    if config.endpoint.starts_with("https:") {
        let mut tls = ClientTlsConfig::new().with_enabled_roots();
        if !config.ca_file.as_os_str().is_empty() {
            let pem = berth_input::file::bytes(&config.ca_file, MAX_AUTHORITY)
                .map_err(|error| Error::internal(format!("monitoring.forward.ca_file: {error}")))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint = endpoint.tls_config(tls).map_err(Error::internal)?;
    }
    Ok(Some(endpoint.connect_lazy()))
}

/// Sends in order. Waits for a collector that is away; drops what a collector
/// that is there does not take, so that it does not block what follows.
async fn send_all(channel: Channel, mut receiver: mpsc::Receiver<Export>, dropped: Dropped) {
    let mut away = false;
    while let Some(export) = receiver.recv().await {
        let mut pause = Duration::from_millis(250);
        let mut refusals = 0;
        while let Err(status) = send(&channel, &export).await {
            match verdict(status.code()) {
                Verdict::Away => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%status, "the collector is away; keeping what it should get");
                    }
                }
                Verdict::Refused if refusals + 1 < TRIES => refusals += 1,
                Verdict::Refused | Verdict::Bad => {
                    tracing::debug!(%status, "the collector did not take an export");
                    dropped.one(status.message());
                    break;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        if std::mem::replace(&mut away, false) {
            tracing::info!("the collector is back");
        }
    }
}

/// What a failure says about sending the same again.
enum Verdict {
    /// Nobody took it: try until somebody does.
    Away,
    /// It was refused, perhaps for a passing reason.
    Refused,
    /// It will be refused for ever.
    Bad,
}

fn verdict(code: Code) -> Verdict {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Verdict::Away,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Verdict::Bad,
        Code::Ok
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Refused,
    }
}

async fn send(channel: &Channel, export: &Export) -> Result<(), Status> {
    let gzip = CompressionEncoding::Gzip;
    let bytes = export.bytes.as_slice();
    let sent = async {
        match export.signal {
            Signal::Metrics => MetricsServiceClient::new(channel.clone())
                .send_compressed(gzip)
                .export(decode::<ExportMetricsServiceRequest>(bytes)?)
                .await
                .map(drop),
            Signal::Logs => LogsServiceClient::new(channel.clone())
                .send_compressed(gzip)
                .export(decode::<ExportLogsServiceRequest>(bytes)?)
                .await
                .map(drop),
            Signal::Traces => TraceServiceClient::new(channel.clone())
                .send_compressed(gzip)
                .export(decode::<ExportTraceServiceRequest>(bytes)?)
                .await
                .map(drop),
        }
    };
    tokio::time::timeout(ANSWER, sent)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::out_of_range(error.to_string()))
}
