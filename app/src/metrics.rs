//! What this server counts, for Prometheus. Counters only ever grow and gauges are read when somebody asks; labels are routes as
//! they are declared, never what a client wrote.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of what `render` writes (https://prometheus.io/docs/specs/om/open_metrics_spec/).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// What is read at the moment of asking.
pub struct Readings {
    pub requests_in_hand: usize,
    pub uploads_in_hand: usize,
    pub database_connections: u32,
    pub database_connections_idle: usize,
}

pub struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    durations: Family<Route, Histogram>,
    pub kept_pictures: Counter,
    pub kept_bytes: Counter,
    pub swept_objects: Counter,
    requests_in_hand: Gauge,
    uploads_in_hand: Gauge,
    database_connections: Gauge,
    database_connections_idle: Gauge,
    thumbnail_seconds: Counter<f64, AtomicU64>,
}

fn durations() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("imagecrud"),
            answered: Family::default(),
            durations: Family::new_with_constructor(durations),
            kept_pictures: Counter::default(),
            kept_bytes: Counter::default(),
            swept_objects: Counter::default(),
            requests_in_hand: Gauge::default(),
            uploads_in_hand: Gauge::default(),
            database_connections: Gauge::default(),
            database_connections_idle: Gauge::default(),
            thumbnail_seconds: Counter::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests that were answered", self.answered.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From a request's head to its answer's head",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("pictures_kept", "Pictures that were created or replaced", self.kept_pictures.clone());
        registry.register_with_unit("pictures_kept", "Their size", Unit::Bytes, self.kept_bytes.clone());
        registry.register("objects_swept", "Pictures whose objects were deleted", self.swept_objects.clone());
        registry.register_with_unit(
            "thumbnails",
            "Time spent on decoding and shrinking",
            Unit::Seconds,
            self.thumbnail_seconds.clone(),
        );
        registry.register("http_requests_in_hand", "Requests being answered now", self.requests_in_hand.clone());
        registry.register("uploads_in_hand", "Uploads being received now", self.uploads_in_hand.clone());
        registry.register("database_connections", "Open connections", self.database_connections.clone());
        registry.register(
            "database_connections_idle",
            "Open connections that wait for work",
            self.database_connections_idle.clone(),
        );
        self
    }

    pub fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        self.answered.get_or_create(&Answered { route: route.into(), method, status }).inc();
        self.durations.get_or_create(&Route { route: route.into() }).observe(took.as_secs_f64());
    }

    pub fn made_thumbnail(&self, took: Duration) {
        self.thumbnail_seconds.inc_by(took.as_secs_f64());
    }

    pub fn render(&self, readings: &Readings) -> Result<String, std::fmt::Error> {
        self.requests_in_hand.set(readings.requests_in_hand as i64);
        self.uploads_in_hand.set(readings.uploads_in_hand as i64);
        self.database_connections.set(readings.database_connections.into());
        self.database_connections_idle.set(readings.database_connections_idle as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
