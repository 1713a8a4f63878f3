//! An expression as a tree.

use super::tokens::{Token, syntax, tokens};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Number(f64),
    Text(String),
    Name(String),
    Negative(Box<Expression>),
    Binary(Box<Expression>, Operator, Box<Expression>),
    Call(String, Vec<Expression>),
    List(Vec<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

impl Operator {
    /// What binds weaker has a lower number.
    fn strength(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual | Self::Equal | Self::NotEqual => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide => 5,
            Self::Power => 7,
        }
    }

    fn of(token: &Token) -> Option<Self> {
        Some(match token {
            Token::Word(word) if word == "OR" => Self::Or,
            Token::Word(word) if word == "AND" => Self::And,
            Token::Sign(sign) => match *sign {
                "||" => Self::Or,
                "&&" => Self::And,
                "<" => Self::Less,
                "<=" => Self::LessOrEqual,
                ">" => Self::Greater,
                ">=" => Self::GreaterOrEqual,
                "==" => Self::Equal,
                "!=" => Self::NotEqual,
                "+" => Self::Add,
                "-" => Self::Subtract,
                "*" => Self::Multiply,
                "/" => Self::Divide,
                "^" => Self::Power,
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// A minus sign binds tighter than `*`, and looser than `^`.
const NEGATIVE_STRENGTH: u8 = 6;
/// Of an expression within an expression; each costs a bit of the thread's stack.
const DEEPEST: usize = 100;

pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let expression = parser.expression(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => Err(syntax(&shown(token))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Number(number) => number.to_string(),
        Token::Text(text) => format!("\"{text}\""),
        Token::Word(word) => word.clone(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        if found {
            self.next += 1;
        }
        found
    }

    /// Reads operators that bind tighter than `strength`.
    fn expression(&mut self, strength: u8) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("Invalid syntax: more than {DEEPEST} expressions within each other"));
        }
        let mut left = self.operand()?;
        while let Some(operator) = self.peek().and_then(Operator::of) {
            if operator.strength() <= strength {
                break;
            }
            self.next += 1;
            // Powers are read from the right: 2^3^2 is 2^9.
            let right_of = if operator == Operator::Power { operator.strength() - 1 } else { operator.strength() };
            let right = self.expression(right_of)?;
            left = Expression::Binary(Box::new(left), operator, Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        match self.take() {
            Some(Token::Number(number)) => Ok(Expression::Number(number)),
            Some(Token::Text(text)) => Ok(Expression::Text(text)),
            Some(Token::Word(word)) if self.take_sign("(") => Ok(Expression::Call(word, self.items(")")?)),
            Some(Token::Word(word)) if word != "AND" && word != "OR" => Ok(Expression::Name(word)),
            Some(Token::Sign("-")) => Ok(Expression::Negative(Box::new(self.expression(NEGATIVE_STRENGTH)?))),
            Some(Token::Sign("[")) => Ok(Expression::List(self.items("]")?)),
            Some(Token::Sign("(")) => {
                let inner = self.expression(0)?;
                if self.take_sign(")") { Ok(inner) } else { Err(self.unexpected()) }
            }
            Some(token) => Err(syntax(&shown(&token))),
            None => Err(syntax("")),
        }
    }

    /// What lies between commas, up to the closing sign.
    fn items(&mut self, close: &str) -> Result<Vec<Expression>, String> {
        let mut items = Vec::new();
        if self.take_sign(close) {
            return Ok(items);
        }
        loop {
            items.push(self.expression(0)?);
            if self.take_sign(close) {
                return Ok(items);
            }
            if !self.take_sign(",") {
                return Err(self.unexpected());
            }
        }
    }

    fn unexpected(&self) -> String {
        syntax(&self.peek().map(shown).unwrap_or_default())
    }
}
