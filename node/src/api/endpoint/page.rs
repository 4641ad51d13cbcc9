//! Pages of lists: how many items, and from where on.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::limits::PAGE_DEFAULT;
use crate::api::problem::Problem;

/// The number of items on a page: what was asked for, cut to the endpoint's bound.
///
/// # Errors
/// When it is zero.
pub fn size(limit: Option<u64>, items_max: usize) -> Result<usize, Problem> {
    match limit {
        None => Ok(PAGE_DEFAULT.min(items_max)),
        Some(0) => Err(Problem::bad_request("bad_limit", "limit is 0")
            .expected(format!("a number from 1 to {items_max}"))),
        Some(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX).min(items_max)),
    }
}

/// The query of lists that go on by cursor.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CursorQuery {
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Number of items, 20 without it; a larger number than the endpoint's bound is cut to it.
    #[param(minimum = 1)]
    pub limit: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded() {
        assert_eq!(size(None, 100).unwrap(), PAGE_DEFAULT);
        assert_eq!(size(None, 5).unwrap(), 5);
        assert_eq!(size(Some(7), 100).unwrap(), 7);
        assert_eq!(size(Some(u64::MAX), 100).unwrap(), 100);
        assert_eq!(size(Some(0), 100).unwrap_err().code, "bad_limit");
    }
}
