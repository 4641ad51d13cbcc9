//! `/v1/sql`: the place of SQL over the ledger, which this version does not have.

use crate::api::problem::{Problem, WriteProblems};

/// SQL over the ledger. Not part of this version: always 501.
#[utoipa::path(post, path = "/v1/sql", tag = "chain", responses(WriteProblems))]
pub async fn sql() -> Problem {
    Problem::not_built("the SQL database is not part of this version of cairn")
        .expected("a version that has it; CHANGELOG.md says which one brings it")
}
