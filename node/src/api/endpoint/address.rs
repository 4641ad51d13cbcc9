//! `/v1/addresses`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::page::{self, CursorQuery};
use crate::api::backend::BackendError;
use crate::api::extract::{PathText, QueryArgs};
use crate::api::limits::{TRANSACTIONS_PAGE_MAX, UTXOS_PAGE_MAX};
use crate::api::model::address::{AddressSummary, UtxoPage};
use crate::api::model::transaction::TransactionPage;
use crate::api::problem::{Problem, ReadProblems};
use crate::api::state::Api;

/// What an address has. One that nobody used is answered with zeros.
#[utoipa::path(get, path = "/v1/addresses/{address}", tag = "chain",
    params(("address" = String, Path, description = "An address of this chain.")),
    responses(
        (status = 200, description = "Balance and number of transactions.", body = AddressSummary),
        ReadProblems,
    ))]
pub async fn address(
    State(api): State<Arc<Api>>,
    PathText(text): PathText,
) -> Result<Json<AddressSummary>, Problem> {
    let summary = api.call(move |backend| {
        let address = backend.parse_address(&text)?;
        let mut summary = backend.chain()?.address(&address)?;
        summary.pending = backend.pending(&address)?;
        Ok(summary)
    });
    summary.await.map(Json)
}

/// An address' coins in the order of their outpoints.
#[utoipa::path(get, path = "/v1/addresses/{address}/utxos", tag = "chain",
    params(("address" = String, Path, description = "An address of this chain."), CursorQuery),
    responses((status = 200, description = "A page of coins.", body = UtxoPage), ReadProblems))]
pub async fn utxos(
    State(api): State<Arc<Api>>,
    PathText(text): PathText,
    QueryArgs(query): QueryArgs<CursorQuery>,
) -> Result<Json<UtxoPage>, Problem> {
    let limit = page::size(query.limit, UTXOS_PAGE_MAX)?;
    let page = api.call(move |backend| {
        let address = backend.parse_address(&text)?;
        let chain = backend.chain()?;
        chain
            .address_utxos(&address, query.cursor.as_deref(), limit)
            .map_err(cursor_problem)
    });
    page.await.map(Json)
}

/// An address' confirmed transactions, newest first; inputs carry the outputs they spend.
#[utoipa::path(get, path = "/v1/addresses/{address}/transactions", tag = "chain",
    params(("address" = String, Path, description = "An address of this chain."), CursorQuery),
    responses(
        (status = 200, description = "A page of transactions.", body = TransactionPage),
        ReadProblems,
    ))]
pub async fn transactions(
    State(api): State<Arc<Api>>,
    PathText(text): PathText,
    QueryArgs(query): QueryArgs<CursorQuery>,
) -> Result<Json<TransactionPage>, Problem> {
    let limit = page::size(query.limit, TRANSACTIONS_PAGE_MAX)?;
    let page = api.call(move |backend| {
        let address = backend.parse_address(&text)?;
        let chain = backend.chain()?;
        chain
            .address_transactions(&address, query.cursor.as_deref(), limit)
            .map_err(cursor_problem)
    });
    page.await.map(Json)
}

/// What waits in the mempool for an address, oldest first: the first 100 transactions.
#[utoipa::path(get, path = "/v1/addresses/{address}/mempool", tag = "node",
    operation_id = "address_mempool",
    params(("address" = String, Path, description = "An address of this chain.")),
    responses(
        (status = 200, description = "The waiting transactions; there is no next page.",
            body = TransactionPage),
        ReadProblems,
    ))]
pub async fn mempool(
    State(api): State<Arc<Api>>,
    PathText(text): PathText,
) -> Result<Json<TransactionPage>, Problem> {
    let page = api.call(move |backend| {
        let address = backend.parse_address(&text)?;
        Ok(TransactionPage {
            transactions: backend.pending_transactions(&address, TRANSACTIONS_PAGE_MAX)?,
            next_cursor: None,
        })
    });
    page.await.map(Json)
}

fn cursor_problem(error: BackendError) -> Problem {
    match error {
        BackendError::Invalid(detail) => Problem::bad_request("bad_cursor", detail)
            .expected("the next_cursor of an earlier page, or none"),
        other => other.into(),
    }
}
