//! What the process tells: metrics for Prometheus, logs, and spans for OpenTelemetry.

#[cfg(feature = "otlp")]
mod otlp;

use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The upper ends of the buckets of durations, in seconds: from 50 µs to 1.6 s.
const BUCKETS: [f64; 16] = [
    0.00005, 0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.05, 0.1, 0.2, 0.4,
    0.8, 1.6,
];

/// The metrics of the process.
#[derive(Clone)]
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Installs the recorder. Only stores that are opened later use it.
    pub(crate) fn install() -> Result<Self> {
        let durations = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?;
        let handle = builder.install_recorder();
        Ok(Self(handle.context("cannot install the recorder of metrics")?))
    }

    /// The answer for Prometheus.
    pub(crate) fn render(&self) -> String {
        self.0.render()
    }

    /// Moves durations into their buckets, for ever. Otherwise they would pile up while nobody asks for the metrics.
    pub(crate) async fn keep_up(self) {
        let mut clock = interval(Duration::from_secs(5));
        loop {
            clock.tick().await;
            self.0.run_upkeep();
        }
    }
}

/// The subscriber of `tracing`. It writes warnings to standard error, and sends spans to a collector if there is one.
pub(crate) struct Spans {
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

impl Spans {
    #[cfg(feature = "otlp")]
    pub(crate) fn start(collector: Option<&str>) -> Result<Self> {
        let exporter = collector.map(otlp::Exporter::new).transpose()?;
        let sent = Targets::new()
            .with_target("cachestore", Level::TRACE)
            .with_target(env!("CARGO_CRATE_NAME"), Level::INFO);
        let spans = exporter
            .as_ref()
            .map(|exporter| exporter.layer().with_filter(sent));
        registry().with(spans).with(warnings()).init();
        Ok(Self { exporter })
    }

    #[cfg(not(feature = "otlp"))]
    pub(crate) fn start(collector: Option<&str>) -> Result<Self> {
        let missing =
            "--otlp needs the feature `otlp`: cargo run -p observability --features otlp -- --otlp URL";
        anyhow::ensure!(collector.is_none(), missing);
        registry().with(warnings()).init();
        Ok(Self {})
    }

    /// Sends what is left.
    pub(crate) async fn flush(self) -> Result<()> {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.flush().await?;
        }
        Ok(())
    }
}

fn warnings<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> registry::LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(std::io::stderr);
    layer.with_filter(Targets::new().with_default(Level::WARN))
}
