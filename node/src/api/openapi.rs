//! The router and its own description: `/openapi.json` is made from the routes that are served.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::endpoint::{
    address, block, chain, header as headers, health, mempool, miner, node, sql, transaction,
};
use super::limits::Limits;
use super::model::event::Event;
use super::problem::{Problem, ProblemDocument};
use super::state::Api;
use super::{events, explorer, rpc};

/// The frame of the document; the paths come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cairn node",
        description = "A node of the Cairn ledger. Amounts are pebbles as decimal strings \
                       (1 CRN = 100000000 pebbles), hashes are lower-case hex in wire order, \
                       errors are RFC 9457 problem documents with a code.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemDocument, Event)),
    tags(
        (name = "chain", description = "Blocks, headers, transactions, addresses."),
        (name = "node", description = "This node: peers, mempool, miner, health."),
    )
)]
struct Frame;

/// Every route with its documentation.
fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Frame::openapi())
        .routes(routes!(explorer::page))
        .routes(routes!(explorer::script))
        .routes(routes!(explorer::style))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(document))
        .routes(routes!(node::status))
        .routes(routes!(block::blocks))
        .routes(routes!(block::block))
        .routes(routes!(block::raw))
        .routes(routes!(headers::headers))
        .routes(routes!(headers::seal))
        .routes(routes!(transaction::transaction))
        .routes(routes!(transaction::proof))
        .routes(routes!(transaction::submit))
        .routes(routes!(address::address))
        .routes(routes!(address::utxos))
        .routes(routes!(address::transactions))
        .routes(routes!(address::mempool))
        .routes(routes!(mempool::mempool))
        .routes(routes!(mempool::fees))
        .routes(routes!(node::peers))
        .routes(routes!(chain::validators))
        .routes(routes!(chain::supply))
        .routes(routes!(chain::schedule))
        .routes(routes!(miner::miner, miner::set_miner))
        .routes(routes!(sql::sql))
        .routes(routes!(events::events))
        .routes(routes!(rpc::rpc))
}

/// The document that `/openapi.json` serves.
pub fn openapi_document() -> Document {
    routes().into_openapi()
}

/// The OpenAPI document of this node.
#[utoipa::path(get, path = "/openapi.json", tag = "node",
    responses((status = 200, description = "This document.", body = serde_json::Value)))]
async fn document() -> Response {
    let mut document = openapi_document();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    axum::Json(document).into_response()
}

/// The whole service of one listener, and the bounds it was given.
pub(super) fn router(api: Arc<Api>) -> (Router, Limits) {
    let limits = api.limits.clone();
    let (router, _) = routes().split_for_parts();
    let router = router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_endpoint)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api);
    (router, limits)
}

/// Before and after every handler: access, time limit, headers that every answer has.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let checked = api
        .access
        .check(request.method(), request.uri(), request.headers());
    let patience = match request.uri().path() {
        rpc::PATH => api.limits.rpc_timeout,
        _ => api.limits.request_timeout,
    };
    let mut response = match checked {
        Err(problem) => problem.into_response(),
        Ok(()) => tokio::time::timeout(patience, next.run(request))
            .await
            .unwrap_or_else(|_| too_slow(patience).into_response()),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn too_slow(patience: Duration) -> Problem {
    let detail = format!("no answer within {patience:?}");
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
}

async fn unknown_endpoint(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(120).collect();
    Problem::not_found("unknown_endpoint", format!("nothing is served at `{path}`"))
        .expected("a path that /openapi.json lists")
}

async fn method_not_allowed(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(120).collect();
    let method: String = request.method().as_str().chars().take(20).collect();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("`{path}` does not answer to {method}"),
    )
    .expected("a method that /openapi.json lists for it")
}
