//! RPC-v2-CBOR bodies to and from nodes (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>).

use ciborium::value::{Integer, Value};

use super::value::{DecodeError, Node};

/// Tag of a time as seconds since the epoch (RFC 8949, 3.4.2).
const EPOCH_TIME: u64 = 1;

/// # Errors
/// When the body is not a CBOR map, or holds a number beyond 64 bits.
pub fn to_node(body: &[u8]) -> Result<Node, DecodeError> {
    if body.is_empty() {
        return Ok(Node::Map(Vec::new()));
    }
    let value: Value =
        ciborium::from_reader(body).map_err(|error| DecodeError::Invalid(format!("the body is not CBOR: {error}")))?;
    match decode(value)? {
        node @ Node::Map(_) => Ok(node),
        _ => Err(DecodeError::Invalid("the body is not a CBOR map".to_owned())),
    }
}

#[must_use]
pub fn from_node(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&encode(node), &mut bytes).expect("writing to memory cannot fail");
    bytes
}

fn decode(value: Value) -> Result<Node, DecodeError> {
    let unsupported = |what: &str| DecodeError::Invalid(format!("{what} has no place in a request"));
    Ok(match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(value),
        Value::Integer(number) => {
            Node::Integer(i64::try_from(number).map_err(|_| unsupported("a number beyond 64 bits"))?)
        }
        Value::Float(value) => Node::Float(value),
        Value::Text(text) => Node::Text(text),
        Value::Bytes(bytes) => Node::Blob(bytes),
        Value::Tag(EPOCH_TIME, inner) => match *inner {
            Value::Float(seconds) => Node::Timestamp(seconds),
            #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
            Value::Integer(seconds) => {
                Node::Timestamp(i64::try_from(seconds).map_err(|_| unsupported("such a time"))? as f64)
            }
            _ => return Err(unsupported("a time that is not a number")),
        },
        Value::Array(items) => Node::List(items.into_iter().map(decode).collect::<Result<_, _>>()?),
        Value::Map(entries) => Node::Map(
            entries
                .into_iter()
                .map(|(key, value)| match key {
                    Value::Text(key) => Ok((key.into(), decode(value)?)),
                    _ => Err(unsupported("a key that is not a text")),
                })
                .collect::<Result<_, _>>()?,
        ),
        _ => return Err(unsupported("such a value")),
    })
}

fn encode(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Integer(value) => Value::Integer(Integer::from(*value)),
        Node::Float(value) => Value::Float(*value),
        // Clients refuse a whole number here; it must be a double.
        Node::Timestamp(seconds) => Value::Tag(EPOCH_TIME, Box::new(Value::Float(*seconds))),
        Node::Text(text) => Value::Text(text.clone()),
        Node::Blob(bytes) => Value::Bytes(bytes.clone()),
        Node::List(items) => Value::Array(items.iter().map(encode).collect()),
        Node::Map(entries) | Node::Dictionary(entries) => Value::Map(
            entries.iter().map(|(key, value)| (Value::Text(key.clone().into_owned()), encode(value))).collect(),
        ),
    }
}
