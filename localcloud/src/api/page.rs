//! Long listings in pages. A token names the last item of the page before it, so that a listing goes on rightly while
//! items come and go.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::error::ApiError;

/// The items after `token`, at most `size` of them, and the token of the next page if there is one. The items must be in
/// the order of their keys.
///
/// # Errors
/// When the token is none of ours.
pub fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    size: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let after = match token {
        Some(token) => Some(decode(token).ok_or_else(|| ApiError::new("InvalidNextToken", "The token is not valid."))?),
        None => None,
    };
    let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), page.last()) {
        (Some(_), Some(last)) => Some(URL_SAFE_NO_PAD.encode(key(last))),
        _ => None,
    };
    Ok((page, next))
}

fn decode(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(items: &[&str], token: Option<&str>) -> (Vec<String>, Option<String>) {
        page(items.iter().map(|&item| item.to_owned()).collect(), Clone::clone, token, 2).expect("a page")
    }

    #[test]
    fn pages_follow_each_other_though_an_item_vanishes_between_them() {
        let (first, token) = of(&["a", "b", "c", "d"], None);
        assert_eq!(first, ["a", "b"]);
        let (second, end) = of(&["a", "c", "d"], token.as_deref());
        assert_eq!(second, ["c", "d"]);
        assert_eq!(end, None);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        assert!(page(vec!["a"], |&item: &&str| item.to_owned(), Some("%"), 1).is_err());
    }
}
