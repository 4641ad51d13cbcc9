//! `/v1/blocks`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::api::extract::{PathBlock, QueryArgs};
use crate::api::limits::BLOCKS_PAGE_MAX;
use crate::api::model::block::{BlockDetail, BlockPage, BlockRef};
use crate::api::problem::{LookupProblems, Problem, ReadProblems};
use crate::api::state::Api;

/// The query of `/v1/blocks`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BlocksQuery {
    /// Blocks below this height only; from the tip down without it.
    pub before: Option<u64>,
    /// Number of blocks, 20 without it; more than 100 is cut to 100.
    #[param(minimum = 1)]
    pub limit: Option<u64>,
}

/// Blocks of the main chain, highest first.
#[utoipa::path(get, path = "/v1/blocks", tag = "chain", params(BlocksQuery),
    responses((status = 200, description = "A page of blocks.", body = BlockPage), ReadProblems))]
pub async fn blocks(
    State(api): State<Arc<Api>>,
    QueryArgs(query): QueryArgs<BlocksQuery>,
) -> Result<Json<BlockPage>, Problem> {
    let limit = page::size(query.limit, BLOCKS_PAGE_MAX)?;
    let page = api.read(move |chain| {
        let tip = chain.tip().height;
        let Some(highest) = query.before.unwrap_or(u64::MAX).checked_sub(1) else {
            return Ok(BlockPage {
                blocks: Vec::new(),
                next_before: None,
            });
        };
        let mut blocks = Vec::with_capacity(limit);
        for height in (0..=highest.min(tip)).rev().take(limit) {
            blocks.extend(chain.block_summary(height)?);
        }
        let next_before = blocks
            .last()
            .map(|block| block.height)
            .filter(|height| *height > 0);
        Ok(BlockPage {
            blocks,
            next_before,
        })
    });
    page.await.map(Json)
}

/// One block by height or id.
#[utoipa::path(get, path = "/v1/blocks/{block}", tag = "chain",
    params(("block" = String, Path, description = "A height or a block id.")),
    responses((status = 200, description = "The block.", body = BlockDetail), LookupProblems))]
pub async fn block(
    State(api): State<Arc<Api>>,
    PathBlock(block): PathBlock,
) -> Result<Json<BlockDetail>, Problem> {
    let found = api.read(move |chain| chain.block(block)).await?;
    found.map(Json).ok_or_else(|| unknown(block))
}

/// One block's canonical bytes.
#[utoipa::path(get, path = "/v1/blocks/{block}/raw", tag = "chain",
    params(("block" = String, Path, description = "A height or a block id.")),
    responses(
        (status = 200, description = "The block's canonical encoding.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        LookupProblems,
    ))]
pub async fn raw(
    State(api): State<Arc<Api>>,
    PathBlock(block): PathBlock,
) -> Result<Response, Problem> {
    let found = api.read(move |chain| chain.block_bytes(block)).await?;
    let bytes = found.ok_or_else(|| unknown(block))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// The problem of a block that this node does not have.
pub(super) fn unknown(block: BlockRef) -> Problem {
    let detail = match block {
        BlockRef::Height(height) => format!("there is no block at height {height}"),
        BlockRef::Id(id) => format!("block {id} is not known here"),
    };
    Problem::not_found("block_not_found", detail)
}
