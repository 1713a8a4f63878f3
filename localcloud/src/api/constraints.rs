//! What a service says of its parameters before an action looks at them: what must be there, lengths, ranges, sets of
//! values. All services of the query protocol but EC2 say it in the same words, as one framework of AWS's says it for them:
//! `1 validation error detected: Value 'x' at 'tags.1.member.key' failed to satisfy constraint: …`. The files beside this
//! one are made of AWS's service models by `scripts/constraints.py`.

use std::collections::BTreeMap;

use super::error::ApiError;
use crate::wire::value::Node;

/// One service's.
#[derive(Debug, Default)]
pub struct Constraints {
    actions: BTreeMap<&'static str, Vec<Rule>>,
    /// IAM does not repeat the value that it refuses.
    is_secretive: bool,
}

#[derive(Debug)]
struct Rule {
    path: Vec<&'static str>,
    kinds: Vec<Kind>,
}

#[derive(Debug)]
enum Kind {
    Required,
    Length(usize, Option<usize>),
    Value(Option<f64>, Option<f64>),
    OneOf(Vec<&'static str>),
    Pattern(&'static str),
}

impl Constraints {
    /// # Panics
    /// When the text is not of the form in which `scripts/constraints.py` writes it: it is part of the program.
    #[must_use]
    pub fn parse(text: &'static str, is_secretive: bool) -> Self {
        let mut actions: BTreeMap<&'static str, Vec<Rule>> = BTreeMap::new();
        let mut action = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix("  ") {
                None => action = line,
                Some(line) => {
                    let mut words = line.split(' ');
                    let path = words.next().unwrap_or_default().split('.').collect();
                    actions.entry(action).or_default().push(Rule { path, kinds: words.map(Kind::parse).collect() });
                }
            }
        }
        Self { actions, is_secretive }
    }

    /// Whether anything is said of the action's parameters.
    #[must_use]
    pub fn knows(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    /// # Errors
    /// When the input breaks a rule: all that it breaks is in the message.
    pub fn check(&self, action: &str, input: &Node) -> Result<(), ApiError> {
        let mut broken = Vec::new();
        for rule in self.actions.get(action).into_iter().flatten() {
            visit(&rule.path, Some(input), String::new(), &mut |node, place| {
                broken.extend(rule.kinds.iter().filter_map(|kind| {
                    let words = kind.broken_by(node)?;
                    let value = node.map_or_else(|| "null ".to_owned(), |node| self.shown(node));
                    Some(format!("Value {value}at '{place}' failed to satisfy constraint: {words}"))
                }));
            });
        }
        match broken.len() {
            0 => Ok(()),
            1 => Err(detected("1 validation error", &broken)),
            number => Err(detected(&format!("{number} validation errors"), &broken)),
        }
    }

    /// With a space behind it, if there is anything to show.
    fn shown(&self, node: &Node) -> String {
        match node {
            _ if self.is_secretive => String::new(),
            Node::Text(text) => format!("'{text}' "),
            Node::Integer(number) => format!("'{number}' "),
            Node::Float(number) => format!("'{number}' "),
            Node::List(items) => {
                let shown: Vec<String> =
                    items.iter().map(|item| self.shown(item).trim_matches([' ', '\'']).into()).collect();
                format!("'[{}]' ", shown.join(", "))
            }
            _ => String::new(),
        }
    }
}

/// A parameter that an action cannot do without, in the same words.
#[must_use]
pub fn missing(name: &str) -> ApiError {
    let path: Vec<String> = name.split('.').map(begin_lower).collect();
    let line = format!("Value null at '{}' failed to satisfy constraint: {NOT_NULL}", path.join("."));
    detected("1 validation error", &[line])
}

const NOT_NULL: &str = "Member must not be null";

fn detected(number: &str, broken: &[String]) -> ApiError {
    ApiError::validation(format!("{number} detected: {}", broken.join("; ")))
}

fn begin_lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// Calls back for each value that the path leads to, and for one that is not there if the structure around it is.
fn visit(path: &[&str], node: Option<&Node>, place: String, broken: &mut dyn FnMut(Option<&Node>, &str)) {
    let Some((step, rest)) = path.split_first() else { return broken(node, &place) };
    match (*step, node) {
        ("*", Some(Node::List(items))) => {
            for (index, item) in items.iter().enumerate() {
                visit(rest, Some(item), format!("{place}.{}.member", index + 1), broken);
            }
        }
        (name, Some(Node::Map(entries))) if name != "*" => {
            let found = entries.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            let found = found.filter(|value| !value.is_null());
            let dot = if place.is_empty() { "" } else { "." };
            let place = format!("{place}{dot}{}", begin_lower(name));
            if found.is_some() || rest.is_empty() {
                visit(rest, found, place, broken);
            }
        }
        _ => {}
    }
}

impl Kind {
    fn parse(word: &'static str) -> Self {
        let (name, said) = word.split_once('=').unwrap_or((word, ""));
        let (low, high) = said.split_once("..").unwrap_or_default();
        match name {
            "required" => Self::Required,
            "length" => Self::Length(low.parse().unwrap_or(0), high.parse().ok()),
            "value" => Self::Value(low.parse().ok(), high.parse().ok()),
            "enum" => Self::OneOf(said.split(',').collect()),
            "pattern" => Self::Pattern(said),
            _ => panic!("there is no rule {word}"),
        }
    }

    /// In words, what it asks for and is not given.
    fn broken_by(&self, node: Option<&Node>) -> Option<String> {
        let Some(node) = node else {
            return matches!(self, Self::Required).then(|| NOT_NULL.to_owned());
        };
        match self {
            Self::Required => None,
            Self::Length(low, high) => {
                let length = match node {
                    Node::Text(text) => text.chars().count(),
                    Node::List(items) => items.len(),
                    _ => return None,
                };
                let words =
                    |than: &str, bound: &usize| format!("Member must have length {than} than or equal to {bound}");
                let short = (length < *low).then(|| words("greater", low));
                short.or_else(|| high.as_ref().filter(|high| length > **high).map(|high| words("less", high)))
            }
            Self::Value(low, high) => {
                let value = match node {
                    #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
                    Node::Integer(number) => *number as f64,
                    Node::Float(number) => *number,
                    // What is no number is refused as malformed.
                    Node::Text(text) => text.trim().parse().ok()?,
                    _ => return None,
                };
                let words = |than: &str, bound: &f64| format!("Member must have value {than} than or equal to {bound}");
                let small = low.as_ref().filter(|low| value < **low).map(|low| words("greater", low));
                small.or_else(|| high.as_ref().filter(|high| value > **high).map(|high| words("less", high)))
            }
            Self::OneOf(values) => match node {
                Node::Text(text) if !values.contains(&text.as_str()) => {
                    Some(format!("Member must satisfy enum value set: [{}]", values.join(", ")))
                }
                _ => None,
            },
            Self::Pattern(pattern) => match node {
                Node::Text(text) if !is_of(pattern, text) => {
                    Some(format!("Member must satisfy regular expression pattern: {pattern}"))
                }
                _ => None,
            },
        }
    }
}

/// Whether a text is of one class of characters, such as `[\w+=,.@-]+`.
fn is_of(pattern: &str, text: &str) -> bool {
    let may_be_empty = pattern.ends_with('*');
    let class = pattern.trim_end_matches(['+', '*']).trim_start_matches('[').trim_end_matches(']');
    (may_be_empty || !text.is_empty()) && text.chars().all(|letter| is_in(class, letter))
}

fn is_in(class: &str, letter: char) -> bool {
    let mut rest = class;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first == '\\' {
            let kind = rest.chars().next().unwrap_or('\\');
            rest = &rest[kind.len_utf8().min(rest.len())..];
            let fits = match kind {
                'w' => letter.is_ascii_alphanumeric() || letter == '_',
                'd' => letter.is_ascii_digit(),
                'p' => {
                    let (category, behind) = rest.split_once('}').unwrap_or((rest, ""));
                    rest = behind;
                    match category {
                        "{L" => letter.is_alphabetic(),
                        "{N" => letter.is_numeric(),
                        _ => letter.is_whitespace(),
                    }
                }
                escaped => letter == escaped,
            };
            if fits {
                return true;
            }
            continue;
        }
        let mut ahead = rest.chars();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) => {
                if (first..=last).contains(&letter) {
                    return true;
                }
                rest = &rest[1 + last.len_utf8()..];
            }
            _ if first == letter => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "# of a test
Make
  Name required length=1..4 pattern=[a-z\\d_\\/-]+
  Size value=1..9
  Tags length=0..2
  Tags.*.Key required
  Kind enum=a,b
";

    fn text(value: &str) -> Node {
        Node::Text(value.to_owned())
    }

    fn map(entries: &[(&str, Node)]) -> Node {
        Node::Map(entries.iter().map(|(key, value)| ((*key).to_owned().into(), value.clone())).collect())
    }

    fn said(entries: &[(&str, Node)]) -> String {
        let constraints = Constraints::parse(RULES, false);
        constraints.check("Make", &map(entries)).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn what_breaks_a_rule_is_named_with_its_place_and_its_value() {
        let name = ("Name", text("n-1/"));
        assert_eq!(said(std::slice::from_ref(&name)), "");
        let one = |place: &str, value: &str, words: &str| {
            format!(
                "1 validation error detected: Value {value} at '{place}' failed to satisfy constraint: Member must {words}"
            )
        };
        assert_eq!(said(&[]), one("name", "null", "not be null"));
        assert_eq!(said(&[("Name", text("12345"))]), one("name", "'12345'", "have length less than or equal to 4"));
        let sized = |size: Node| said(&[name.clone(), ("Size", size)]);
        assert_eq!(sized(text("0")), one("size", "'0'", "have value greater than or equal to 1"));
        assert_eq!(sized(Node::Integer(10)), one("size", "'10'", "have value less than or equal to 9"));
        assert_eq!(sized(text("ten")), "", "what is no number is malformed, which others say");
        let kind = said(&[name.clone(), ("Kind", text("c"))]);
        assert_eq!(kind, one("kind", "'c'", "satisfy enum value set: [a, b]"));
        let tags = Node::List(vec![map(&[("Key", text("k"))]), map(&[("Value", text("v"))])]);
        assert_eq!(said(&[name, ("Tags", tags)]), one("tags.2.member.key", "null", "not be null"));
        let two = said(&[("Name", text("Ä"))]);
        assert!(two.ends_with(r"'Ä' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z\d_\/-]+"), "{two}");
        assert!(said(&[("Kind", text("c"))]).starts_with("2 validation errors detected: "));
    }

    #[test]
    fn a_secretive_service_does_not_repeat_a_value() {
        let refused = Constraints::parse(RULES, true).check("Make", &map(&[("Name", text("12345"))]));
        let message = refused.expect_err("too long").message;
        assert!(message.starts_with("1 validation error detected: Value at 'name' failed"), "{message}");
    }

    #[test]
    fn the_classes_of_awss_patterns_hold_what_they_say() {
        for (pattern, good, bad) in [
            (r"[\w+=,.@-]+", "a_Z0+=,.@-", "a:b"),
            (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "ü 9_.:/=+-@", "a!"),
            (r"[a-zA-Z0-9\(\)\.\-/_]+", "aZ9().-/_", "a b"),
            (r"[\w+=,.@:\/-]*", "a:/-", "a b"),
        ] {
            assert!(is_of(pattern, good), "{pattern} {good}");
            assert!(!is_of(pattern, bad), "{pattern} {bad}");
            assert_eq!(is_of(pattern, ""), pattern.ends_with('*'), "{pattern}");
        }
    }
}
