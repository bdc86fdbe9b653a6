//! Traces, metrics and logs of a service: to standard error for people, and by
//! OTLP to monitoring or the operator's collector.

use crate::auth;
use http::HeaderMap;
use opentelemetry::metrics::Histogram;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use std::future::Future;
use std::io::IsTerminal as _;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::transport::Channel;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What a service says about itself, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Filter of log lines, such as `info,sqlx=warn`.
    pub level: String,
    /// `text` or `json`, on standard error.
    pub format: LogFormat,
    /// Whether to send OTLP as well.
    pub otlp: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: an object a line.
    Json,
}

/// Sends what is left when it is dropped.
#[derive(Debug, Default)]
pub struct Guard {
    providers: Option<(SdkTracerProvider, SdkMeterProvider, SdkLoggerProvider)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((traces, metrics, logs)) = self.providers.take() {
            // The receiver may be gone already; that is no reason to linger.
            traces.shutdown().ok();
            metrics.shutdown().ok();
            logs.shutdown().ok();
        }
    }
}

/// Starts telemetry for this process. `collector` is where OTLP goes.
///
/// # Errors
///
/// What is wrong with the filter, or why exporters cannot be made.
pub fn init(
    role: &str,
    config: &TelemetryConfig,
    collector: Option<Channel>,
) -> Result<Guard, String> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let filter = || {
        EnvFilter::try_new(&config.level)
            .map_err(|error| format!("telemetry.level `{}`: {error}", config.level))
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match config.format {
        LogFormat::Text => lines.with_target(false).with_filter(filter()?).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_filter(filter()?)
            .boxed(),
    };
    let registry = tracing_subscriber::registry().with(lines);
    let Some(channel) = collector.filter(|_| config.otlp) else {
        registry.try_init().map_err(|error| error.to_string())?;
        return Ok(Guard::default());
    };
    let providers = providers(role, &channel).map_err(|error| error.to_string())?;
    // What the exporters themselves do is not exported: it would never end.
    let quiet = || {
        filter().map(|filter| {
            ["h2", "hyper", "tonic", "opentelemetry", "tower", "rustls"]
                .iter()
                .filter_map(|name| format!("{name}=off").parse().ok())
                .fold(filter, EnvFilter::add_directive)
        })
    };
    registry
        .with(
            tracing_opentelemetry::layer()
                .with_tracer(providers.0.tracer("berth"))
                .with_filter(quiet()?),
        )
        .with(OpenTelemetryTracingBridge::new(&providers.2).with_filter(quiet()?))
        .try_init()
        .map_err(|error| error.to_string())?;
    global::set_meter_provider(providers.1.clone());
    Ok(Guard {
        providers: Some(providers),
    })
}

type Providers = (SdkTracerProvider, SdkMeterProvider, SdkLoggerProvider);

fn providers(
    role: &str,
    channel: &Channel,
) -> Result<Providers, opentelemetry_otlp::ExporterBuildError> {
    let resource = Resource::builder()
        .with_service_name(format!("berth-{role}"))
        .with_attribute(KeyValue::new("service.namespace", "berth"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new(
            "service.instance.id",
            uuid::Uuid::now_v7().to_string(),
        ))
        .build();
    let spans = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel.clone())
        .build()?;
    let metrics = MetricExporter::builder()
        .with_tonic()
        .with_channel(channel.clone())
        .build()?;
    let logs = LogExporter::builder()
        .with_tonic()
        .with_channel(channel.clone())
        .build()?;
    Ok((
        SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(spans)
            .build(),
        SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_periodic_exporter(metrics)
            .build(),
        SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(logs)
            .build(),
    ))
}

/// Puts the current trace into the metadata of an outgoing call.
pub fn inject(metadata: &mut MetadataMap) {
    struct Carrier<'a>(&'a mut MetadataMap);
    impl Injector for Carrier<'_> {
        fn set(&mut self, key: &str, value: String) {
            let key = tonic::metadata::AsciiMetadataKey::from_bytes(key.as_bytes());
            if let (Ok(key), Ok(value)) = (key, value.parse()) {
                self.0.insert(key, value);
            }
        }
    }
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Carrier(metadata));
    });
}

/// The names of a request's metadata, for the gateway that passes them on.
#[must_use]
pub fn ascii_keys(metadata: &MetadataMap) -> Vec<String> {
    metadata
        .keys()
        .filter_map(|key| match key {
            KeyRef::Ascii(key) => Some(key.as_str().to_owned()),
            KeyRef::Binary(_) => None,
        })
        .collect()
}

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    global::meter("berth")
        .f64_histogram("rpc.server.duration")
        .with_unit("s")
        .with_description("Time from a request to the head of its answer")
        .build()
});

/// A span and a duration for every call.
#[derive(Debug, Clone, Copy, Default)]
pub struct RpcLayer;

impl<S> Layer<S> for RpcLayer {
    type Service = Rpc<S>;

    fn layer(&self, inner: S) -> Rpc<S> {
        Rpc { inner }
    }
}

/// See [`RpcLayer`].
#[derive(Debug, Clone)]
pub struct Rpc<S> {
    inner: S,
}

impl<S, B, R> Service<http::Request<B>> for Rpc<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The receiver's own spans would be received again, for ever.
        let path = request.uri().path();
        if path.starts_with("/opentelemetry.") || path.starts_with("/grpc.") {
            return Box::pin(self.inner.call(request));
        }
        let method = auth::name_of(path).trim_start_matches('/');
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.grpc.status_code = field::Empty,
        );
        let parent = global::get_text_map_propagator(|propagator| {
            propagator.extract(&Headers(request.headers()))
        });
        span.set_parent(parent).ok();
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(
            async move {
                let answer = answer.await;
                let code = answer.as_ref().map_or(13, code);
                Span::current().record("rpc.grpc.status_code", code);
                DURATION.record(
                    begun.elapsed().as_secs_f64(),
                    &[
                        KeyValue::new("rpc.method", method),
                        KeyValue::new("rpc.grpc.status_code", code),
                    ],
                );
                answer
            }
            .instrument(span),
        )
    }
}

/// The code that stands in the head of an answer, or the status of plain HTTP;
/// a stream that fails later counts as begun well.
fn code<B>(answer: &http::Response<B>) -> i64 {
    if !answer.status().is_success() {
        return answer.status().as_u16().into();
    }
    answer
        .headers()
        .get("grpc-status")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
