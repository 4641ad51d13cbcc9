//! Errors as RFC 9457 problem documents, each with a `code` for programs.
//!
//! Invariant: every answer of the API that is not a success has this form, also for unknown paths,
//! wrong methods and unreadable requests; a fault of ours never shows its inner words to a stranger
//! beyond the one line that the operator's log has too.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use super::backend::{AddressError, BackendError, SubmitError};

/// The media type of problem documents.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An RFC 9457 problem document as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// A URN that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, for programs.
    pub code: String,
    /// What is wrong, with the value and its bound.
    pub detail: String,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The rule of the chain that was broken, such as `TX-03`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A problem on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The kind of problem, for programs.
    pub code: &'static str,
    /// What is wrong, with the value and its bound.
    pub detail: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// The rule of the chain that was broken.
    pub rule: Option<String>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            expected: None,
            rule: None,
        }
    }

    /// The document that the client reads.
    pub fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: format!("urn:cairn:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            expected: self.expected.clone(),
            rule: self.rule.clone(),
        }
    }

    /// Adds what would have been right.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// A request that cannot be read.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A thing that does not exist.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// A part that this program does not have.
    pub fn not_built(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_built", detail)
    }

    /// Too much at once.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    /// Our fault.
    pub fn fault(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(detail = %self.detail, "the API could not answer");
        }
        let body = serde_json::to_string(&self.document()).expect("strings and a number");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        let detail = error.to_string();
        match error {
            BackendError::Fault(_) => Self::fault(detail),
            BackendError::Busy(_) => Self::busy(detail),
            BackendError::NotAvailable(_) => {
                Self::new(StatusCode::NOT_IMPLEMENTED, "not_available", detail)
            }
            BackendError::Invalid(_) => Self::bad_request("invalid_request", detail),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::Undecodable(_) => Self::bad_request("transaction_undecodable", detail)
                .expected("the canonical encoding of one transaction, as hex"),
            SubmitError::Invalid { rule, .. } => Self {
                rule: Some(rule),
                ..Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "transaction_invalid",
                    detail,
                )
            },
            SubmitError::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, "transaction_conflict", detail)
            }
            SubmitError::Refused(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "transaction_refused",
                detail,
            ),
            SubmitError::Busy(_) => Self::busy(detail),
            SubmitError::Fault(_) => Self::fault(detail),
        }
    }
}

impl From<AddressError> for Problem {
    fn from(error: AddressError) -> Self {
        let detail = error.to_string();
        match error {
            AddressError::Malformed(_) => Self::bad_request("address_malformed", detail),
            AddressError::OtherNetwork(_) => Self::bad_request("address_other_network", detail),
        }
    }
}

/// A response of the OpenAPI document that carries a problem.
fn documented(description: &str) -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(CONTENT_TYPE, content)
        .build()
        .into()
}

macro_rules! problem_sets {
    ($($(#[$doc:meta])* $name:ident: $($status:literal $description:literal),+;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
                ResponsesBuilder::new()
                    $(.response($status, documented($description)))+
                    .build()
                    .into()
            }
        }
    )*};
}

problem_sets! {
    /// What any read may answer.
    ReadProblems:
        "400" "The request cannot be read.",
        "403" "The Host or Origin header names another machine.",
        "500" "The node's own fault.",
        "503" "Too much at once, or the node is starting or stopping.",
        "504" "The answer took too long.";
    /// What the read of a thing by its name may answer.
    LookupProblems:
        "400" "The request cannot be read.",
        "403" "The Host or Origin header names another machine.",
        "404" "There is no such thing.",
        "500" "The node's own fault.",
        "503" "Too much at once, or the node is starting or stopping.",
        "504" "The answer took too long.";
    /// What any write may answer.
    WriteProblems:
        "400" "The request cannot be read.",
        "401" "The token is missing or wrong.",
        "403" "The Host or Origin header names another machine, or writes are not served here.",
        "408" "The body did not come in time.",
        "413" "The body is too large.",
        "415" "The body is not application/json.",
        "500" "The node's own fault.",
        "501" "A part that this node does not have.",
        "503" "Too much at once, or the node is starting or stopping.",
        "504" "The answer took too long.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_the_rfc_and_a_code() {
        let problem = Problem::from(SubmitError::Invalid {
            rule: "TX-03".into(),
            detail: "input 0 spends nothing".into(),
        });
        let json = serde_json::to_value(problem.document()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:cairn:problem:transaction_invalid",
                "title": "Unprocessable Entity",
                "status": 422,
                "code": "transaction_invalid",
                "detail": "input 0 spends nothing",
                "rule": "TX-03"
            })
        );
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
    }
}
