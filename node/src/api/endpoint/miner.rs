//! `/v1/miner`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::api::extract::JsonBody;
use crate::api::model::miner::{MinerRequest, MinerStatus};
use crate::api::problem::{Problem, ReadProblems, WriteProblems};
use crate::api::state::Api;

/// The node's own miner.
#[utoipa::path(get, path = "/v1/miner", tag = "node",
    responses((status = 200, description = "The miner.", body = MinerStatus), ReadProblems))]
pub async fn miner(State(api): State<Arc<Api>>) -> Result<Json<MinerStatus>, Problem> {
    api.call(|backend| Ok(backend.miner()?)).await.map(Json)
}

/// Pauses or resumes the miner.
#[utoipa::path(post, path = "/v1/miner", tag = "node", request_body = MinerRequest,
    responses((status = 200, description = "The miner, as it is now.", body = MinerStatus), WriteProblems))]
pub async fn set_miner(
    State(api): State<Arc<Api>>,
    JsonBody(request): JsonBody<MinerRequest>,
) -> Result<Json<MinerStatus>, Problem> {
    api.call(move |backend| Ok(backend.set_miner_paused(request.paused)?))
        .await
        .map(Json)
}
