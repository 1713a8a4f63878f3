//! Filters of the Describe actions: one table per noun says which there are, what is not in it is refused.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>

use serde::Deserialize;

use crate::{api::error::ApiError, model::tag::Tags};

/// As a request has it. Any of the values may match; all filters must.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Filter {
    pub name: String,
    #[serde(default, rename = "Value")]
    pub values: Vec<String>,
}

/// What a resource shows to the filter of a name: none, one or several values.
pub(super) type Column<T> = (&'static str, fn(&T) -> Vec<String>);

/// Keeps what passes all filters. `tags` is `None` for resources without tags.
///
/// # Errors
/// When there is no filter of a name, be there resources or not.
pub(super) fn retain<T>(
    filters: &[Filter],
    columns: &[Column<T>],
    tags: Option<fn(&T) -> &Tags>,
    items: Vec<T>,
) -> Result<Vec<T>, ApiError> {
    let mut kept = items;
    for filter in filters {
        let matches = |value: &str| filter.values.iter().any(|pattern| wildcard(pattern, value));
        if let Some((_, values)) = columns.iter().find(|(name, _)| *name == filter.name) {
            kept.retain(|item| values(item).iter().any(|value| matches(value)));
            continue;
        }
        match (tags, filter.name.strip_prefix("tag:")) {
            (Some(tags), Some(key)) => kept.retain(|item| tags(item).get(key).is_some_and(|value| matches(value))),
            (Some(tags), None) if filter.name == "tag-key" => {
                kept.retain(|item| tags(item).keys().any(|key| matches(key)))
            }
            _ => return Err(ApiError::invalid_parameter_value(format!("The filter '{}' is invalid", filter.name))),
        }
    }
    Ok(kept)
}

/// Whether the text fits the pattern, in which `*` stands for any characters, `?` for one, and a backslash takes both
/// their meaning. Both grow at most by the product of the lengths, whatever the pattern.
fn wildcard(pattern: &str, text: &str) -> bool {
    #[derive(Clone, Copy)]
    enum Token {
        Any,
        One,
        Just(char),
    }
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Just(characters.next().unwrap_or('\\')),
            other => Token::Just(other),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut here) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while here < text.len() {
        match tokens.get(at) {
            Some(Token::Just(character)) if *character == text[here] => (at, here) = (at + 1, here + 1),
            Some(Token::One) => (at, here) = (at + 1, here + 1),
            Some(Token::Any) => {
                last_any = Some((at, here));
                at += 1;
            }
            _ => match last_any {
                // The star takes one more character, and the rest is tried again.
                Some((star, from)) => {
                    last_any = Some((star, from + 1));
                    (at, here) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    tokens[at..].iter().all(|token| matches!(token, Token::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing {
        name: String,
        tags: Tags,
    }

    const COLUMNS: &[Column<Thing>] = &[("name", |thing| vec![thing.name.clone()])];

    fn thing(name: &str, tag: &str) -> Thing {
        Thing { name: name.to_owned(), tags: Tags::from([("role".to_owned(), tag.to_owned())]) }
    }

    fn filter(name: &str, values: &[&str]) -> Filter {
        Filter { name: name.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() }
    }

    fn kept(filters: &[Filter]) -> Result<Vec<String>, ApiError> {
        let items = vec![thing("a", "web"), thing("b", "web"), thing("c", "db")];
        Ok(retain(filters, COLUMNS, Some(|thing| &thing.tags), items)?.into_iter().map(|thing| thing.name).collect())
    }

    #[test]
    fn any_value_of_a_filter_and_all_filters_must_match() {
        assert_eq!(kept(&[filter("name", &["a", "c"])]).expect("known"), ["a", "c"]);
        assert_eq!(kept(&[filter("name", &["a", "c"]), filter("tag:role", &["web"])]).expect("known"), ["a"]);
        assert_eq!(kept(&[filter("tag-key", &["ro*"])]).expect("known"), ["a", "b", "c"]);
        assert!(kept(&[filter("name", &[])]).expect("known").is_empty());
    }

    #[test]
    fn an_unknown_filter_is_refused_even_when_nothing_is_left_to_filter() {
        let error = kept(&[filter("name", &["nothing"]), filter("colour", &["red"])]).expect_err("unknown");
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("InvalidParameterValue", "The filter 'colour' is invalid")
        );
    }

    #[test]
    fn wildcards_stand_for_any_text_or_one_character_unless_escaped() {
        for (pattern, text, fits) in [
            ("web-*", "web-1", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*d", "abcbd", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a", "ab", false),
            ("", "a", false),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }
}
