//! `/v1/transactions`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::{JsonBody, PathTxid};
use crate::api::model::hash::Hash32;
use crate::api::model::transaction::{
    SubmitAnswer, SubmitRequest, TransactionDetail, TransactionProof,
};
use crate::api::problem::{LookupProblems, Problem, ProblemDocument, WriteProblems};
use crate::api::state::Api;

/// A transaction in the mempool or in the chain; a coinbase by its id too.
#[utoipa::path(get, path = "/v1/transactions/{txid}", tag = "chain",
    params(("txid" = String, Path, description = "A transaction id.")),
    responses(
        (status = 200, description = "The transaction.", body = TransactionDetail),
        LookupProblems,
    ))]
pub async fn transaction(
    State(api): State<Arc<Api>>,
    PathTxid(txid): PathTxid,
) -> Result<Json<TransactionDetail>, Problem> {
    let found = api.call(move |backend| {
        // The chain first would miss a transaction that was confirmed between the two looks.
        let waiting = backend.mempool_transaction(txid)?;
        let confirmed = backend.chain()?.transaction(txid)?;
        Ok(confirmed.or(waiting))
    });
    found.await?.map(Json).ok_or_else(|| unknown(txid))
}

/// A proof that a transaction is in its block, checkable with the block's header only.
#[utoipa::path(get, path = "/v1/transactions/{txid}/proof", tag = "chain",
    params(("txid" = String, Path, description = "The id of a confirmed transaction.")),
    responses((status = 200, description = "The proof.", body = TransactionProof), LookupProblems))]
pub async fn proof(
    State(api): State<Arc<Api>>,
    PathTxid(txid): PathTxid,
) -> Result<Json<TransactionProof>, Problem> {
    let found = api.read(move |chain| chain.transaction_proof(txid)).await?;
    found.map(Json).ok_or_else(|| {
        Problem::not_found(
            "transaction_not_confirmed",
            format!("{txid} is in no block of the chain"),
        )
    })
}

/// Hands a transaction in.
///
/// 202 means that it is in the mempool and was given to the peers, not that it is confirmed. A
/// transaction that waits already is answered the same way.
#[utoipa::path(post, path = "/v1/transactions", tag = "chain", request_body = SubmitRequest,
    responses(
        (status = 202, description = "The mempool has it.", body = SubmitAnswer),
        (status = 409, description = "It spends what another transaction spends.",
            body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "It breaks a rule of the chain, or is refused by policy.",
            body = ProblemDocument, content_type = "application/problem+json"),
        WriteProblems,
    ))]
pub async fn submit(
    State(api): State<Arc<Api>>,
    JsonBody(request): JsonBody<SubmitRequest>,
) -> Result<(StatusCode, Json<SubmitAnswer>), Problem> {
    let taken = api
        .call(move |backend| Ok(backend.submit_transaction(&request.hex.0)?))
        .await?;
    Ok((StatusCode::ACCEPTED, Json(SubmitAnswer { txid: taken })))
}

fn unknown(txid: Hash32) -> Problem {
    let detail = format!("{txid} is neither in the chain nor in this node's mempool");
    Problem::not_found("transaction_not_found", detail)
}
