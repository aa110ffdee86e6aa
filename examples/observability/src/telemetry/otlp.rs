//! Spans for an OpenTelemetry collector, by OTLP over HTTP.

use anyhow::{Context, Result, ensure};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// The share of traces that are sent. Visitors make more spans than a collector on the same machine should store.
const SHARE: f64 = 0.05;

/// Sends spans in batches, on a thread of its own.
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(super) fn new(collector: &str) -> Result<Self> {
        // The example has no TLS.
        ensure!(
            collector.starts_with("http://"),
            "the URL of --otlp must begin with http://"
        );
        let endpoint = format!("{}/v1/traces", collector.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .build();
        let exporter = exporter.context("cannot send spans to the URL of --otlp")?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(SHARE))))
            .with_resource(Resource::builder().with_service_name("shop").build());
        Ok(Self(provider.build()))
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("shop"))
    }

    /// Sends what is left, and stops the thread.
    pub(super) async fn flush(self) -> Result<()> {
        // It blocks until the collector has answered.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown()).await?;
        stopped.context("the last spans could not be sent")
    }
}
