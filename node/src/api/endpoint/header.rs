//! `/v1/headers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{block, page};
use crate::api::extract::{PathBlock, QueryArgs};
use crate::api::limits::HEADERS_PAGE_MAX;
use crate::api::model::block::{BlockSeal, HeaderPage};
use crate::api::problem::{LookupProblems, Problem, ReadProblems};
use crate::api::state::Api;

/// The query of `/v1/headers`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HeadersQuery {
    /// The lowest height; 0 without it.
    pub from: Option<u64>,
    /// Number of headers, 20 without it; more than 2000 is cut to 2000.
    #[param(minimum = 1)]
    pub limit: Option<u64>,
}

/// Header records of the main chain, lowest first.
#[utoipa::path(get, path = "/v1/headers", tag = "chain", params(HeadersQuery),
    responses((status = 200, description = "A page of headers.", body = HeaderPage), ReadProblems))]
pub async fn headers(
    State(api): State<Arc<Api>>,
    QueryArgs(query): QueryArgs<HeadersQuery>,
) -> Result<Json<HeaderPage>, Problem> {
    let limit = page::size(query.limit, HEADERS_PAGE_MAX)?;
    let page = api.read(move |chain| {
        let tip = chain.tip().height;
        let mut headers = Vec::new();
        for height in (query.from.unwrap_or(0)..=tip).take(limit) {
            headers.extend(chain.header(height)?);
        }
        let next = headers
            .last()
            .and_then(|header| header.height.checked_add(1));
        Ok(HeaderPage {
            headers,
            next_from: next.filter(|height| *height <= tip),
        })
    });
    page.await.map(Json)
}

/// The certificate of a block that was ordered by a vote.
#[utoipa::path(get, path = "/v1/headers/{block}/seal", tag = "chain",
    params(("block" = String, Path, description = "A height or a block id.")),
    responses(
        (status = 200, description = "The certificate and the set that signed it.", body = BlockSeal),
        LookupProblems,
    ))]
pub async fn seal(
    State(api): State<Arc<Api>>,
    PathBlock(name): PathBlock,
) -> Result<Json<BlockSeal>, Problem> {
    let (is_known, seal) = api
        .read(move |chain| Ok((chain.block(name)?.is_some(), chain.seal(name)?)))
        .await?;
    match seal {
        Some(seal) => Ok(Json(seal)),
        None if is_known => Err(Problem::not_found(
            "no_seal",
            "this block has no certificate: it was ordered by proof of work",
        )),
        None => Err(block::unknown(name)),
    }
}
