//! Pages of keys: prefix, delimiter, marker, in the order of the keys' bytes. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What `encoding-type=url` leaves as it is.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// What a client asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: Option<&'a str>,
    /// The page begins behind this key or common prefix.
    pub(super) after: Option<&'a str>,
    pub(super) limit: usize,
    /// As if they were not there.
    pub(super) hidden: Option<&'a BTreeSet<String>>,
}

/// One page. Keys and common prefixes together are at most `limit`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<'a, T> {
    pub(super) objects: Vec<(&'a str, &'a T)>,
    pub(super) common_prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

pub(super) fn page<'a, T>(all: &'a BTreeMap<String, T>, query: Query<'_>) -> Page<'a, T> {
    let mut page = Page { objects: Vec::new(), common_prefixes: Vec::new(), next: None };
    let mut last = String::new();
    let mut from = match query.after {
        Some(after) if after >= query.prefix => Bound::Excluded(after.to_owned()),
        _ => Bound::Included(query.prefix.to_owned()),
    };
    while let Some((key, value)) = all.range::<String, _>((from.clone(), Bound::Unbounded)).next() {
        let Some(rest) = key.strip_prefix(query.prefix) else { break };
        if query.hidden.is_some_and(|hidden| hidden.contains(key)) {
            from = Bound::Excluded(key.clone());
            continue;
        }
        let delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty());
        let group = delimiter.and_then(|delimiter| {
            rest.find(delimiter).map(|at| format!("{}{}", query.prefix, &rest[..at + delimiter.len()]))
        });
        let told_before =
            group.as_deref().is_some_and(|group| query.after.is_some_and(|after| after.starts_with(group)));
        if !told_before {
            if page.objects.len() + page.common_prefixes.len() == query.limit {
                page.next = (query.limit > 0).then_some(last);
                break;
            }
            match &group {
                Some(group) => {
                    page.common_prefixes.push(group.clone());
                    last.clone_from(group);
                }
                None => {
                    page.objects.push((key, value));
                    last.clone_from(key);
                }
            }
        }
        from = match group {
            // On to the first key that does not begin with the group.
            Some(group) => match end_of(&group) {
                Some(end) => Bound::Included(end),
                None => break,
            },
            None => Bound::Excluded(key.clone()),
        };
    }
    page
}

/// The least text above all that begin with `prefix`.
fn end_of(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// As `encoding-type=url` writes keys.
pub(super) fn url_encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> BTreeMap<String, ()> {
        names.iter().map(|name| ((*name).to_owned(), ())).collect()
    }

    /// All pages of a listing, one after the other.
    fn walk(all: &BTreeMap<String, ()>, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = page(all, Query { prefix, delimiter, after: after.as_deref(), limit, hidden: None });
            pages.push(page.objects.iter().map(|(key, ())| (*key).to_owned()).chain(page.common_prefixes).collect());
            after = page.next;
            if after.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_are_complete_in_byte_order_and_say_when_they_end() {
        let all = keys(&["b", "a/1", "a", "Z", "é"]);
        assert_eq!(walk(&all, "", None, 2), [vec!["Z", "a"], vec!["a/1", "b"], vec!["é"]]);
        assert_eq!(walk(&all, "", None, 5), [vec!["Z", "a", "a/1", "b", "é"]]);
        assert_eq!(walk(&all, "a", None, 10), [vec!["a", "a/1"]]);
        assert_eq!(walk(&keys(&[]), "", None, 10), [Vec::<String>::new()]);
    }

    #[test]
    fn groups_count_once_and_are_not_told_again_on_the_next_page() {
        let all = keys(&["p/1", "p/2", "q", "r/1", "r/2/3"]);
        assert_eq!(walk(&all, "", Some("/"), 1), [vec!["p/"], vec!["q"], vec!["r/"]]);
        assert_eq!(walk(&all, "r/", Some("/"), 10), [vec!["r/1", "r/2/"]]);
        let inside =
            page(&all, Query { prefix: "", delimiter: Some("/"), after: Some("p/1"), limit: 10, hidden: None });
        assert_eq!(inside.common_prefixes, ["r/"], "a marker within a group leaves the group behind");
    }

    #[test]
    fn a_page_of_nothing_is_not_followed_by_another() {
        let all = keys(&["a"]);
        assert_eq!(page(&all, Query { limit: 0, ..Query::default() }).next, None);
    }

    #[test]
    fn what_is_hidden_takes_no_room_on_a_page_and_makes_no_group() {
        let all = keys(&["a", "b", "c/1", "d"]);
        let hidden = BTreeSet::from(["b".to_owned(), "c/1".to_owned()]);
        let page = page(&all, Query { delimiter: Some("/"), limit: 2, hidden: Some(&hidden), ..Query::default() });
        let names: Vec<&str> = page.objects.iter().map(|(key, ())| *key).collect();
        assert_eq!((names, page.common_prefixes.len(), page.next), (vec!["a", "d"], 0, None));
    }

    #[test]
    fn keys_are_encoded_but_for_slashes() {
        assert_eq!(url_encoded("a b+c%/é"), "a%20b%2Bc%25/%C3%A9");
    }
}
