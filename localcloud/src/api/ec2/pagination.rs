//! MaxResults and NextToken, as EC2 words them.

use crate::api::{error::ApiError, page};

/// One page of the items in the order of their keys, and the token of the next one. Without MaxResults all are one page.
///
/// # Errors
/// When the token is none that was given out, or MaxResults is out of range.
pub(super) fn page<T>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
    max_results: Option<u32>,
    next_token: Option<&str>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    if let Some(number) = max_results
        && !(1..=1000).contains(&number)
    {
        return Err(ApiError::invalid_parameter_value(format!(
            "Value ( {number} ) for parameter maxResults is invalid. Expecting a value between 1 and 1000."
        )));
    }
    items.sort_by_cached_key(&key);
    let size = max_results.map_or(usize::MAX, |number| number as usize);
    page::page(items, key, next_token.filter(|token| !token.is_empty()), size)
}

/// The refusal of MaxResults beside ids, which AWS takes one of.
pub(super) fn ids_with_max_results(ids: &str) -> ApiError {
    ApiError::new(
        "InvalidParameterCombination",
        format!("The parameter {ids} cannot be used with the parameter maxResults"),
    )
}
