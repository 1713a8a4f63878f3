//! Wildcards and variables: `arn:aws:s3:::home/${aws:username}/*`.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use super::context::Context;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`
    Run,
    /// `?`
    One,
    Char(char),
}

/// What stands for a variable in a pattern. Without a context, variables are plain text, as in documents of 2008.
pub type Variables<'a> = Option<&'a Context>;

/// Whether the text is as the pattern says; letters must be the same.
#[must_use]
pub fn matches(pattern: &str, text: &str, variables: Variables<'_>) -> bool {
    tokens(pattern, variables).is_some_and(|tokens| run(&tokens, &text.chars().collect::<Vec<_>>()))
}

/// As `matches`; upper and lower case are the same.
#[must_use]
pub fn matches_any_case(pattern: &str, text: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase(), None)
}

/// Each of the six parts of an ARN by itself: a wildcard does not reach over a colon
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN>).
#[must_use]
pub fn matches_arn(pattern: &str, arn: &str, variables: Variables<'_>) -> bool {
    if pattern == "*" {
        return true;
    }
    // A variable holds colons too, so it is put in before the pattern is split.
    let Some(tokens) = tokens(pattern, variables) else { return false };
    let parts: Vec<Vec<Token>> = tokens.splitn(6, |token| *token == Token::Char(':')).map(<[Token]>::to_vec).collect();
    let texts: Vec<&str> = arn.splitn(6, ':').collect();
    parts.len() == texts.len()
        && parts.iter().zip(texts).all(|(part, text)| run(part, &text.chars().collect::<Vec<_>>()))
}

/// The text with its variables replaced; `None` if one has no value.
#[must_use]
pub fn substituted(text: &str, variables: Variables<'_>) -> Option<String> {
    let Some(context) = variables else { return Some(text.to_owned()) };
    let mut result = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => result.push_str(text),
            Piece::Variable(variable) => result.push_str(&value_of(variable, context)?),
        }
    }
    Some(result)
}

enum Piece<'a> {
    Text(&'a str),
    /// What stands between `${` and `}`.
    Variable(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((variable, behind)) = after.split_once('}') else { break };
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Variable(variable));
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// `${aws:username}`, `${aws:username, 'nobody'}`, and the characters that cannot be written otherwise: `${*}`.
fn value_of(variable: &str, context: &Context) -> Option<String> {
    if matches!(variable, "*" | "?" | "$") {
        return Some(variable.to_owned());
    }
    let (key, default) = match variable.split_once(',') {
        Some((key, default)) => {
            (key.trim(), default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')))
        }
        None => (variable.trim(), None),
    };
    context.single(key).or(default).map(str::to_owned)
}

/// Wildcards in a variable's value are plain characters. `None` if a variable has no value: such a pattern matches
/// nothing.
fn tokens(pattern: &str, variables: Variables<'_>) -> Option<Vec<Token>> {
    let wild = |text: &str| {
        text.chars()
            .map(|char| match char {
                '*' => Token::Run,
                '?' => Token::One,
                char => Token::Char(char),
            })
            .collect::<Vec<_>>()
    };
    let Some(context) = variables else { return Some(wild(pattern)) };
    let mut tokens = Vec::with_capacity(pattern.len());
    for piece in pieces(pattern) {
        match piece {
            Piece::Text(text) => tokens.extend(wild(text)),
            Piece::Variable(variable) => tokens.extend(value_of(variable, context)?.chars().map(Token::Char)),
        }
    }
    Some(tokens)
}

/// Goes back to the last `*` only, which is enough and takes no more than pattern times text.
fn run(tokens: &[Token], text: &[char]) -> bool {
    let (mut token, mut char) = (0, 0);
    let mut last_run: Option<(usize, usize)> = None;
    while char < text.len() {
        match tokens.get(token) {
            Some(Token::Run) => {
                last_run = Some((token, char));
                token += 1;
            }
            Some(Token::One) => (token, char) = (token + 1, char + 1),
            Some(Token::Char(expected)) if *expected == text[char] => (token, char) = (token + 1, char + 1),
            _ => match last_run {
                Some((run, taken)) => {
                    last_run = Some((run, taken + 1));
                    (token, char) = (run + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    tokens[token..].iter().all(|token| *token == Token::Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_runs_and_single_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a/b:c", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("*ab", "aba", false),
            ("", "", true),
            ("", "a", false),
            ("A", "a", false),
            ("${aws:username}", "${aws:username}", true),
        ] {
            assert_eq!(matches(pattern, text, None), expected, "{pattern} {text}");
        }
        assert!(matches_any_case("EC2:Describe*", "ec2:describeInstances"));
    }

    #[test]
    fn variables_are_plain_text_and_one_without_a_value_matches_nothing() {
        let mut context = Context::default();
        context.set("aws:username", "jo*");
        context.add("aws:TagKeys", "a");
        context.add("aws:TagKeys", "b");
        let matches = |pattern: &str, text: &str| matches(pattern, text, Some(&context));
        assert!(matches("home/${aws:UserName}/*", "home/jo*/x"));
        assert!(!matches("home/${aws:username}/*", "home/joe/x"), "a value's star is a star");
        assert!(matches("${*}${?}${$}", "*?$"));
        assert!(!matches("${*}", "a"));
        assert!(!matches("${aws:nothing}*", "a"));
        assert!(matches("${aws:nothing, 'all'}", "all"));
        assert!(!matches("${aws:TagKeys}", "a"), "several values are none");
    }

    #[test]
    fn a_wildcard_in_an_arn_ends_at_the_colon_but_in_its_last_part() {
        let arn = "arn:aws:autoscaling:r:1:autoScalingGroup:u:autoScalingGroupName/web";
        assert!(matches_arn("arn:aws:autoscaling:*:1:autoScalingGroup:*/web", arn, None));
        assert!(!matches_arn("arn:aws:*:autoScalingGroupName/web", arn, None));
        assert!(!matches_arn("arn:aws:auto*", arn, None));
    }
}
