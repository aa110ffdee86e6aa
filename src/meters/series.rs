//! Series: the name of a metric and its labels.

use metrics::{Key, Metadata, Recorder, SharedString, Unit};

use super::handle::{Counter, Gauge, Handle, Histogram};

/// The name and the value of a label of a closed set.
pub(super) type Label = (&'static str, &'static str);

const METADATA: Metadata<'static> = Metadata::new("cachestore", metrics::Level::INFO, Some("cachestore"));

/// What is registered with one recorder under common labels.
#[derive(Clone, Copy)]
pub(super) struct Series<'a> {
    recorder: &'a dyn Recorder,
    engine: &'static str,
    /// A label whose value is known only at runtime.
    own: Option<(&'static str, &'a str)>,
}

impl<'a> Series<'a> {
    pub(super) fn new(recorder: &'a dyn Recorder, engine: &'static str) -> Self {
        let own = None;
        Self {
            recorder,
            engine,
            own,
        }
    }

    /// Makes series for the recorder that is installed.
    pub(super) fn make<T>(engine: &'static str, make: impl FnOnce(Series<'_>) -> T) -> T {
        metrics::with_recorder(|recorder| make(Series::new(recorder, engine)))
    }

    /// The same with one more label.
    pub(super) fn with(self, own: Option<(&'static str, &'a str)>) -> Self {
        Self { own, ..self }
    }

    pub(super) fn counter(
        self,
        name: &'static str,
        labels: &[Label],
        unit: Unit,
        about: &'static str,
    ) -> Counter {
        Handle::register(|| {
            self.recorder
                .describe_counter(name.into(), Some(unit), about.into());
            self.recorder.register_counter(&self.key(name, labels), &METADATA)
        })
    }

    pub(super) fn gauge(self, name: &'static str, unit: Unit, about: &'static str) -> Gauge {
        Handle::register(|| {
            self.recorder
                .describe_gauge(name.into(), Some(unit), about.into());
            self.recorder.register_gauge(&self.key(name, &[]), &METADATA)
        })
    }

    pub(super) fn seconds(self, name: &'static str, labels: &[Label], about: &'static str) -> Histogram {
        Handle::register(|| {
            let unit = Some(Unit::Seconds);
            self.recorder.describe_histogram(name.into(), unit, about.into());
            self.recorder
                .register_histogram(&self.key(name, labels), &METADATA)
        })
    }

    fn key(self, name: &'static str, labels: &[Label]) -> Key {
        let engine = metrics::Label::from_static_parts("engine", self.engine);
        let fixed = labels.iter().map(metrics::Label::from);
        let own = self
            .own
            .map(|(name, value)| metrics::Label::new(name, SharedString::from(value.to_owned())));
        let labels: Vec<_> = [engine].into_iter().chain(fixed).chain(own).collect();
        Key::from_parts(name, labels)
    }
}
