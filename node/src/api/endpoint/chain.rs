//! `/v1/supply`, `/v1/schedule`, `/v1/validators`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::api::model::chain::{Schedule, Supply, Validators};
use crate::api::problem::{Problem, ReadProblems};
use crate::api::state::Api;

/// Money issued and burned, at the tip.
#[utoipa::path(get, path = "/v1/supply", tag = "chain",
    responses((status = 200, description = "The supply.", body = Supply), ReadProblems))]
pub async fn supply(State(api): State<Arc<Api>>) -> Result<Json<Supply>, Problem> {
    api.read(|chain| chain.supply()).await.map(Json)
}

/// The engine schedule as announced at the tip.
#[utoipa::path(get, path = "/v1/schedule", tag = "chain",
    responses((status = 200, description = "The schedule.", body = Schedule), ReadProblems))]
pub async fn schedule(State(api): State<Arc<Api>>) -> Result<Json<Schedule>, Problem> {
    api.read(|chain| chain.schedule()).await.map(Json)
}

/// The validators at the tip; none under proof of work.
#[utoipa::path(get, path = "/v1/validators", tag = "chain",
    responses((status = 200, description = "The validators.", body = Validators), ReadProblems))]
pub async fn validators(State(api): State<Arc<Api>>) -> Result<Json<Validators>, Problem> {
    api.read(|chain| chain.validators()).await.map(Json)
}
