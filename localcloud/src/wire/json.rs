//! JSON bodies (awsJson) to and from nodes: times are seconds since the epoch, bytes are base64.

use base64::Engine as _;
use serde_json::{Map, Number, Value};

use super::value::{DecodeError, Node};

/// # Errors
/// When the body is not a JSON object.
pub fn to_node(body: &[u8]) -> Result<Node, DecodeError> {
    if body.is_empty() {
        return Ok(Node::Map(Vec::new()));
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(value @ Value::Object(_)) => Ok(decode(value)),
        Ok(_) => Err(DecodeError::Invalid("the body is not a JSON object".to_owned())),
        Err(error) => Err(DecodeError::Invalid(format!("the body is not JSON: {error}"))),
    }
}

#[must_use]
pub fn from_node(node: &Node) -> Vec<u8> {
    encode(node).to_string().into_bytes()
}

fn decode(value: Value) -> Node {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Node::Integer(integer),
            None => Node::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Node::Text(text),
        Value::Array(items) => Node::List(items.into_iter().map(decode).collect()),
        Value::Object(entries) => {
            Node::Map(entries.into_iter().map(|(key, value)| (key.into(), decode(value))).collect())
        }
    }
}

fn encode(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Integer(value) => Value::from(*value),
        Node::Float(value) | Node::Timestamp(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Node::Text(text) => Value::from(text.as_str()),
        Node::Blob(bytes) => Value::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Node::List(items) => Value::Array(items.iter().map(encode).collect()),
        Node::Map(entries) | Node::Dictionary(entries) => Value::Object(
            entries.iter().map(|(key, value)| (key.clone().into_owned(), encode(value))).collect::<Map<_, _>>(),
        ),
    }
}
