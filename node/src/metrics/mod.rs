//! Numbers for Prometheus: what this node counts, and the page it shows them on.
//!
//! * [`registry`]: every `cairn_…` metric, all known labels present from the start;
//! * [`openmetrics`]: the rewrite of libp2p's own page so that both stand on one.

pub mod openmetrics;
pub mod registry;

pub use registry::{KnownLabels, Metrics, RATE_WINDOWS};

/// The content type of the page: Prometheus text format 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
