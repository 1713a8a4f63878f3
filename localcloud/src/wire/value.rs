//! The tree between codecs and operations. A codec turns a body into a [`Node`] and back; an operation's input and
//! output are plain serde types. So no operation knows whether it came as query, JSON or CBOR.

/// Trees to inputs.
mod decode;
/// Outputs to trees.
mod encode;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{
    Serialize,
    de::{self, DeserializeOwned},
    ser,
};

/// Name under which [`crate::model::time::Timestamp`] serialises, so that each codec can write its own form.
pub const TIMESTAMP: &str = "$timestamp";

/// Name under which [`Dictionary`] serialises.
const DICTIONARY: &str = "$dictionary";

/// A map whose keys are data, as an answer's field.
#[derive(Debug, Serialize)]
#[serde(rename = "$dictionary")]
pub struct Dictionary<T>(pub BTreeMap<String, T>);

/// Of a field. Those of answers stand in the program; a thousand instances have some hundred thousand.
pub type Name = Cow<'static, str>;

/// One value of a request or an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Blob(Vec<u8>),
    /// Seconds since the epoch.
    Timestamp(f64),
    List(Vec<Node>),
    /// Ordered as written.
    Map(Vec<(Name, Node)>),
    /// A map whose keys are data, where a structure's are names. Only XML tells them apart.
    Dictionary(Vec<(Name, Node)>),
}

impl Node {
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Blob(_) => "bytes",
            Self::Timestamp(_) => "a time",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Dictionary(_) => "a structure",
        }
    }
}

/// Why a tree does not fit an operation's input. The front words it as the service does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("unknown parameter {0}")]
    Unknown(String),
    #[error("missing parameter {0}")]
    Missing(String),
    #[error("{0}")]
    Invalid(String),
}

impl de::Error for DecodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Invalid(message.to_string())
    }

    fn unknown_field(field: &str, _expected: &'static [&'static str]) -> Self {
        Self::Unknown(field.to_owned())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }
}

impl ser::Error for DecodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Invalid(message.to_string())
    }
}

/// Reads an operation's input.
///
/// # Errors
/// When a parameter is unknown, missing or of the wrong form.
pub fn from_node<T: DeserializeOwned>(node: Node) -> Result<T, DecodeError> {
    T::deserialize(node)
}

/// Turns an operation's output into a tree.
///
/// # Errors
/// When the type has a form no codec has, such as a map whose keys are not texts.
pub fn to_node<T: Serialize>(value: &T) -> Result<Node, DecodeError> {
    value.serialize(encode::Serializer)
}

fn mismatch(node: &Node, expected: &str) -> DecodeError {
    DecodeError::Invalid(match node {
        Node::Text(text) => format!("`{text}` is not {expected}"),
        other => format!("{} where {expected} is expected", other.kind()),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::model::time::Timestamp;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Input {
        size: Option<u32>,
        #[serde(default)]
        encrypted: bool,
        #[serde(default, rename = "Tag")]
        tags: Vec<Tag>,
        since: Option<Timestamp>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Tag {
        key: String,
    }

    fn map(entries: Vec<(&str, Node)>) -> Node {
        Node::Map(entries.into_iter().map(|(key, value)| (key.to_owned().into(), value)).collect())
    }

    #[test]
    fn texts_of_a_query_and_values_of_a_structure_read_the_same() {
        let text = |value: &str| Node::Text(value.to_owned());
        let query =
            map(vec![("Size", text("10")), ("Encrypted", text("true")), ("Since", text("1970-01-01T00:00:01Z"))]);
        let typed =
            map(vec![("Size", Node::Integer(10)), ("Encrypted", Node::Bool(true)), ("Since", Node::Timestamp(1.0))]);
        assert_eq!(from_node::<Input>(query), from_node::<Input>(typed));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_path() {
        let unknown = map(vec![("Tag", Node::List(vec![map(vec![("Kee", Node::Text("a".to_owned()))])]))]);
        assert_eq!(from_node::<Input>(unknown), Err(DecodeError::Unknown("Tag.Kee".to_owned())));
        let missing = map(vec![("Tag", Node::List(vec![map(vec![])]))]);
        assert_eq!(from_node::<Input>(missing), Err(DecodeError::Missing("Tag.Key".to_owned())));
        let wrong = map(vec![("Size", Node::Text("ten".to_owned()))]);
        let said = from_node::<Input>(wrong).expect_err("ten is no number").to_string();
        assert_eq!(said, "Size: `ten` is not a whole number in range");
    }

    #[test]
    fn an_absent_value_is_left_out_of_an_answer() {
        #[derive(serde::Serialize)]
        struct Output {
            a: Option<u32>,
            b: Timestamp,
        }
        let node = to_node(&Output { a: None, b: Timestamp::from_seconds(1.5) }).expect("a tree");
        assert_eq!(node, map(vec![("b", Node::Timestamp(1.5))]));
    }
}
