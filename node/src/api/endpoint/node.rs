//! `/v1/status` and `/v1/peers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::api::model::chain::Status;
use crate::api::model::peer::Peers;
use crate::api::problem::{Problem, ReadProblems};
use crate::api::state::Api;

/// The state of the node in a few numbers.
#[utoipa::path(get, path = "/v1/status", tag = "node",
    responses((status = 200, description = "The status.", body = Status), ReadProblems))]
pub async fn status(State(api): State<Arc<Api>>) -> Result<Json<Status>, Problem> {
    api.call(|backend| Ok(backend.status()?)).await.map(Json)
}

/// The connected peers.
#[utoipa::path(get, path = "/v1/peers", tag = "node",
    responses((status = 200, description = "The peers.", body = Peers), ReadProblems))]
pub async fn peers(State(api): State<Arc<Api>>) -> Result<Json<Peers>, Problem> {
    api.call(|backend| Ok(backend.peers()?)).await.map(Json)
}
