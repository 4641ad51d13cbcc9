//! `/v1/sql`: one SQL statement over HTTP, its rows as lines of JSON.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::backend::SqlRequest;
use crate::api::extract::JsonBody;
use crate::api::problem::{Problem, WriteProblems};
use crate::api::state::Api;

/// Runs one SQL statement.
///
/// The answer is NDJSON: one JSON object for each row, with the columns' names; a statement without
/// rows answers one object with its command tag. Placeholders `$1`, `$2`, … stand for `params`.
#[utoipa::path(post, path = "/v1/sql", tag = "chain", request_body = SqlRequest,
    responses(
        (status = 200, description = "The rows, one JSON object a line.", body = String,
            content_type = "application/x-ndjson"),
        WriteProblems,
    ))]
pub async fn sql(
    State(api): State<Arc<Api>>,
    JsonBody(request): JsonBody<SqlRequest>,
) -> Result<Response, Problem> {
    let answer = api.call(move |backend| Ok(backend.sql(request)?)).await?;
    match answer {
        Some(Ok(lines)) => {
            let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
            Ok((StatusCode::OK, kind, lines).into_response())
        }
        Some(Err(failure)) => {
            let detail = format!("{}: {}", failure.sqlstate, failure.message);
            let problem = Problem::bad_request("sql_error", detail);
            Err(match failure.hint {
                Some(hint) => problem.expected(hint),
                None => problem,
            })
        }
        None => Err(Problem::not_built("this node does not serve SQL")
            .expected("a node with the role sql: start it with --roles ledger,sql")),
    }
}
