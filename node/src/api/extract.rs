//! What handlers take from a request, each refused as a problem document when it cannot be read.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::limits::{BODY_BYTES_MAX, RPC_BODY_BYTES_MAX};
use super::model::block::BlockRef;
use super::model::hash::Hash32;
use super::problem::Problem;
use super::state::Api;

/// A JSON body of at most [`BODY_BYTES_MAX`] bytes.
pub struct JsonBody<T>(pub T);

/// The bytes of a JSON-RPC body of at most [`RPC_BODY_BYTES_MAX`].
pub struct RpcBody(pub Bytes);

/// The query of the URL; a parameter that the endpoint does not have is refused by its name.
pub struct QueryArgs<T>(pub T);

/// The one part of the path that names a thing, as text.
pub struct PathText(pub String);

/// The part of the path that names a block.
pub struct PathBlock(pub BlockRef);

/// The part of the path that names a transaction.
pub struct PathTxid(pub Hash32);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !is_json(kind) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!(
                    "Content-Type is `{}`",
                    kind.chars().take(80).collect::<String>()
                ),
            )
            .expected("application/json"));
        }
        let bytes = read_body(request, BODY_BYTES_MAX, api).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(Problem::bad_request("malformed_json", error.to_string())
                .expected("the JSON object that /openapi.json describes")),
        }
    }
}

impl FromRequest<Arc<Api>> for RpcBody {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        read_body(request, RPC_BODY_BYTES_MAX, api).await.map(Self)
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Reads a body within its bounds of bytes and time; memory grows with what came only.
async fn read_body(request: Request, bytes_max: usize, api: &Api) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body has more than {bytes_max} bytes"),
        )
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    let read = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| {
                Problem::bad_request("body_unreadable", "the body ended before its end")
            })?;
            if bytes.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(bytes))
    };
    tokio::time::timeout(api.limits.body_timeout, read)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the body did not come within {:?}", api.limits.body_timeout);
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                detail,
            ))
        })
}

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for QueryArgs<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad_request("bad_query", error.body_text())
                .expected("the parameters that /openapi.json describes")),
        }
    }
}

impl FromRequestParts<Arc<Api>> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, api).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(error) => Err(Problem::bad_request("bad_path", error.body_text())),
        }
    }
}

impl FromRequestParts<Arc<Api>> for PathBlock {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let PathText(text) = PathText::from_request_parts(parts, api).await?;
        BlockRef::parse(&text).map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Problem::bad_request("bad_block", format!("`{shown}` names no block"))
                .expected("a height in decimal digits or an id of 64 hex digits")
        })
    }
}

impl FromRequestParts<Arc<Api>> for PathTxid {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let PathText(text) = PathText::from_request_parts(parts, api).await?;
        text.parse().map(Self).map_err(|error| {
            Problem::bad_request("bad_txid", format!("{error}"))
                .expected("a transaction id of 64 hex digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_is_recognised_with_parameters() {
        for good in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "text/plain; application/json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
