//! An expression as tokens.

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    /// In double or single quotes.
    Text(String),
    /// `m1`, `SUM`, `AND`
    Word(String),
    /// `(`, `+`, `<=`
    Sign(&'static str),
}

/// Longer signs come before those that they begin with.
const SIGNS: &[&str] =
    &["<=", ">=", "==", "!=", "&&", "||", "<", ">", "+", "-", "*", "/", "^", "(", ")", "[", "]", ","];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '0'..='9' | '.' => {
                let length = number_length(rest);
                let number = rest[..length].parse::<f64>().map_err(|_| syntax(rest))?;
                tokens.push(Token::Number(number));
                length
            }
            '"' | '\'' => {
                let length = rest[1..].find(first).ok_or_else(|| syntax(rest))?;
                tokens.push(Token::Text(rest[1..=length].to_owned()));
                length + 2
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign)).ok_or_else(|| syntax(rest))?;
                tokens.push(Token::Sign(sign));
                sign.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

pub(super) fn syntax(rest: &str) -> String {
    let shown: String = rest.chars().take(20).collect();
    if shown.is_empty() {
        "Invalid syntax: the expression ends too early".to_owned()
    } else {
        format!("Invalid syntax at '{shown}'")
    }
}

/// `12`, `1.5`, `.5`, `1e-9`
fn number_length(text: &str) -> usize {
    let plain = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let Some(exponent) = text[plain..].strip_prefix(['e', 'E']) else { return plain };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let sign = exponent.len() - digits.len();
    match digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()) {
        0 => plain,
        count => plain + 1 + sign + count,
    }
}
