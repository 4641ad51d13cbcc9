//! The page at `/`: the chain, the mempool and the peers, live, from this node's own API.
//!
//! Three small files that are part of the program; the page loads nothing from anywhere else, and
//! its policy forbids it to.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Scripts and styles from this node only, connections to this node only, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// The explorer.
#[utoipa::path(get, path = "/", tag = "node",
    responses((status = 200, description = "The explorer.", body = String, content_type = "text/html")))]
pub async fn page() -> Response {
    file(
        "text/html; charset=utf-8",
        include_str!("explorer/index.html"),
    )
}

/// The explorer's script.
#[utoipa::path(get, path = "/explorer.js", tag = "node",
    responses((status = 200, description = "The explorer's script.", body = String,
        content_type = "text/javascript")))]
pub async fn script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("explorer/explorer.js"),
    )
}

/// The explorer's style.
#[utoipa::path(get, path = "/explorer.css", tag = "node",
    responses((status = 200, description = "The explorer's style.", body = String,
        content_type = "text/css")))]
pub async fn style() -> Response {
    file(
        "text/css; charset=utf-8",
        include_str!("explorer/explorer.css"),
    )
}
