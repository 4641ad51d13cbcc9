//! `/healthz`, `/readyz` and the metrics page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::model::chain::Readiness;
use crate::api::problem::{Problem, ReadProblems};
use crate::api::state::Api;
use crate::metrics;

/// Whether the process answers at all.
#[utoipa::path(get, path = "/healthz", tag = "node",
    responses((status = 200, description = "It answers.", body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether this node should be given work.
#[utoipa::path(get, path = "/readyz", tag = "node",
    responses((status = 200, description = "It is ready.", body = Readiness), ReadProblems))]
pub async fn readyz(State(api): State<Arc<Api>>) -> Result<Json<Readiness>, Problem> {
    let readiness = api.call(|backend| Ok(backend.readiness())).await?;
    if readiness.ready {
        return Ok(Json(readiness));
    }
    let detail = readiness.reasons.join("; ");
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_ready",
        detail,
    ))
}

/// The numbers for Prometheus, in text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses(
        (status = 200, description = "The metrics page.", body = String, content_type = "text/plain"),
        ReadProblems,
    ))]
pub async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let numbers = Arc::clone(&api.metrics);
    let page = api.call(move |backend| {
        backend.refresh_metrics();
        Ok(numbers.render(&backend.libp2p_metrics()))
    });
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.await?).into_response())
}
