//! `/v1/mempool` and `/v1/fees`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::api::extract::QueryArgs;
use crate::api::limits::MEMPOOL_PAGE_MAX;
use crate::api::model::fees::Fees;
use crate::api::model::mempool::Mempool;
use crate::api::problem::{Problem, ReadProblems};
use crate::api::state::Api;

/// The query of `/v1/mempool`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MempoolQuery {
    /// Number of transactions to list, 10000 without it, which is also the most.
    #[param(minimum = 1)]
    pub limit: Option<u64>,
}

/// What waits for a block: totals, and the best transactions by fee rate.
#[utoipa::path(get, path = "/v1/mempool", tag = "node", params(MempoolQuery),
    responses((status = 200, description = "The mempool.", body = Mempool), ReadProblems))]
pub async fn mempool(
    State(api): State<Arc<Api>>,
    QueryArgs(query): QueryArgs<MempoolQuery>,
) -> Result<Json<Mempool>, Problem> {
    let limit = query.limit.unwrap_or(MEMPOOL_PAGE_MAX as u64);
    let limit = page::size(Some(limit), MEMPOOL_PAGE_MAX)?;
    api.call(move |backend| Ok(backend.mempool(limit)?))
        .await
        .map(Json)
}

/// Fee rates that would confirm a transaction within some blocks, in pebbles per 1000 weight.
#[utoipa::path(get, path = "/v1/fees", tag = "node",
    responses((status = 200, description = "The estimates.", body = Fees), ReadProblems))]
pub async fn fees(State(api): State<Arc<Api>>) -> Result<Json<Fees>, Problem> {
    api.call(|backend| Ok(backend.fees()?)).await.map(Json)
}
