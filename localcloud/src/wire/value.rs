//! The tree between codecs and operations. A codec turns a body into a [`Node`] and back; an operation's input and
//! output are plain serde types. So no operation knows whether it came as query, JSON or CBOR.

use serde::{
    de::{self, DeserializeOwned, IntoDeserializer as _},
    ser::{self, Serialize},
};

/// Name under which [`crate::model::time::Timestamp`] serialises, so that each codec can write its own form.
pub const TIMESTAMP: &str = "$timestamp";

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
    Map(Vec<(String, Node)>),
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
            Self::Map(_) => "a structure",
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
    value.serialize(Serializer)
}

fn mismatch(node: &Node, expected: &str) -> DecodeError {
    DecodeError::Invalid(match node {
        Node::Text(text) => format!("`{text}` is not {expected}"),
        other => format!("{} where {expected} is expected", other.kind()),
    })
}

macro_rules! deserialize_number {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let number = match &self {
                Node::Integer(value) => <$type>::try_from(*value).ok(),
                Node::Float(value) if value.fract() == 0.0 => format!("{value}").parse().ok(),
                Node::Text(text) => text.trim().parse().ok(),
                _ => None,
            };
            visitor.$visit(number.ok_or_else(|| mismatch(&self, "a whole number in range"))?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Node {
    type Error = DecodeError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Integer(value) => visitor.visit_i64(value),
            Self::Float(value) | Self::Timestamp(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_string(text),
            Self::Blob(bytes) => visitor.visit_byte_buf(bytes),
            Self::List(items) => visitor.visit_seq(de::value::SeqDeserializer::new(items.into_iter())),
            Self::Map(entries) => {
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None, key: String::new() })
            }
        }
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self {
            Self::Bool(value) => visitor.visit_bool(*value),
            Self::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => visitor.visit_bool(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => visitor.visit_bool(false),
            other => Err(mismatch(other, "true or false")),
        }
    }

    deserialize_number!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    );

    fn deserialize_f64<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self {
            Self::Float(value) | Self::Timestamp(value) => visitor.visit_f64(*value),
            #[expect(clippy::cast_precision_loss, reason = "whole numbers on the wire are far below 2^53")]
            Self::Integer(value) => visitor.visit_f64(*value as f64),
            Self::Text(text) => match text.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => visitor.visit_f64(value),
                _ => Err(mismatch(&self, "a number")),
            },
            other => Err(mismatch(other, "a number")),
        }
    }

    fn deserialize_f32<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Text(text) => visitor.visit_string(text),
            Self::Integer(value) => visitor.visit_string(value.to_string()),
            Self::Bool(value) => visitor.visit_string(value.to_string()),
            other => Err(mismatch(&other, "a text")),
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == TIMESTAMP { self.deserialize_any(visitor) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::List(items) => visitor.visit_seq(de::value::SeqDeserializer::new(items.into_iter())),
            // An empty query parameter (`Filters=`) is how the SDKs write an empty list.
            Self::Null => visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<Self>())),
            Self::Text(text) if text.is_empty() => {
                visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<Self>()))
            }
            other => Err(mismatch(&other, "a list")),
        }
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self {
            Self::Map(entries) => {
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None, key: String::new() })
            }
            other => Err(mismatch(&other, "a structure")),
        }
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self {
            Self::Text(text) if variants.contains(&text.as_str()) => visitor.visit_enum(text.into_deserializer()),
            Self::Text(text) => Err(DecodeError::Invalid(format!("`{text}` is not one of {}", variants.join(", ")))),
            other => Err(mismatch(&other, "a text")),
        }
    }

    fn deserialize_identifier<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { char bytes byte_buf unit unit_struct tuple tuple_struct }
}

impl de::IntoDeserializer<'_, DecodeError> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Entries {
    entries: std::vec::IntoIter<(String, Node)>,
    value: Option<Node>,
    key: String,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = DecodeError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        self.key.clone_from(&key);
        seed.deserialize(Node::Text(key)).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let value = self.value.take().unwrap_or(Node::Null);
        // The path makes the message useful: `Ebs.VolumeSize: `ten` is not a whole number`.
        seed.deserialize(value).map_err(|error| match error {
            DecodeError::Unknown(name) => DecodeError::Unknown(format!("{}.{name}", self.key)),
            DecodeError::Missing(name) => DecodeError::Missing(format!("{}.{name}", self.key)),
            DecodeError::Invalid(text) => DecodeError::Invalid(format!("{}: {text}", self.key)),
        })
    }
}

struct Serializer;

struct ListSerializer(Vec<Node>);

struct MapSerializer {
    entries: Vec<(String, Node)>,
    key: Option<String>,
}

impl MapSerializer {
    fn new() -> Self {
        Self { entries: Vec::new(), key: None }
    }

    fn push<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), DecodeError> {
        let node = value.serialize(Serializer)?;
        if !node.is_null() {
            self.entries.push((key, node));
        }
        Ok(())
    }
}

impl ser::Serializer for Serializer {
    type Ok = Node;
    type Error = DecodeError;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = ser::Impossible<Node, DecodeError>;
    type SerializeMap = MapSerializer;
    type SerializeStruct = MapSerializer;
    type SerializeStructVariant = ser::Impossible<Node, DecodeError>;

    fn serialize_bool(self, value: bool) -> Result<Node, DecodeError> {
        Ok(Node::Bool(value))
    }
    fn serialize_i8(self, value: i8) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value.into()))
    }
    fn serialize_i16(self, value: i16) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value.into()))
    }
    fn serialize_i32(self, value: i32) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value.into()))
    }
    fn serialize_i64(self, value: i64) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value))
    }
    fn serialize_u8(self, value: u8) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value.into()))
    }
    fn serialize_u16(self, value: u16) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value.into()))
    }
    fn serialize_u32(self, value: u32) -> Result<Node, DecodeError> {
        Ok(Node::Integer(value.into()))
    }
    fn serialize_u64(self, value: u64) -> Result<Node, DecodeError> {
        i64::try_from(value).map(Node::Integer).map_err(ser::Error::custom)
    }
    fn serialize_f32(self, value: f32) -> Result<Node, DecodeError> {
        Ok(Node::Float(value.into()))
    }
    fn serialize_f64(self, value: f64) -> Result<Node, DecodeError> {
        Ok(Node::Float(value))
    }
    fn serialize_char(self, value: char) -> Result<Node, DecodeError> {
        Ok(Node::Text(value.to_string()))
    }
    fn serialize_str(self, value: &str) -> Result<Node, DecodeError> {
        Ok(Node::Text(value.to_owned()))
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<Node, DecodeError> {
        Ok(Node::Blob(value.to_vec()))
    }
    fn serialize_none(self) -> Result<Node, DecodeError> {
        Ok(Node::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, DecodeError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Node, DecodeError> {
        Ok(Node::Map(Vec::new()))
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Result<Node, DecodeError> {
        Ok(Node::Map(Vec::new()))
    }
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Node, DecodeError> {
        Ok(Node::Text(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Node, DecodeError> {
        match (name, value.serialize(self)?) {
            (TIMESTAMP, Node::Float(seconds)) => Ok(Node::Timestamp(seconds)),
            (_, node) => Ok(node),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<Node, DecodeError> {
        value.serialize(self)
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<ListSerializer, DecodeError> {
        Ok(ListSerializer(Vec::with_capacity(length.unwrap_or(0))))
    }
    fn serialize_tuple(self, length: usize) -> Result<ListSerializer, DecodeError> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<ListSerializer, DecodeError> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, DecodeError> {
        Err(ser::Error::custom(format!("{name}: no codec has tuple variants")))
    }
    fn serialize_map(self, _length: Option<usize>) -> Result<MapSerializer, DecodeError> {
        Ok(MapSerializer::new())
    }
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<MapSerializer, DecodeError> {
        Ok(MapSerializer::new())
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, DecodeError> {
        Err(ser::Error::custom(format!("{name}: no codec has struct variants")))
    }
}

impl ser::SerializeSeq for ListSerializer {
    type Ok = Node;
    type Error = DecodeError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DecodeError> {
        self.0.push(value.serialize(Serializer)?);
        Ok(())
    }
    fn end(self) -> Result<Node, DecodeError> {
        Ok(Node::List(self.0))
    }
}

impl ser::SerializeTuple for ListSerializer {
    type Ok = Node;
    type Error = DecodeError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DecodeError> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<Node, DecodeError> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeTupleStruct for ListSerializer {
    type Ok = Node;
    type Error = DecodeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DecodeError> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<Node, DecodeError> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeMap for MapSerializer {
    type Ok = Node;
    type Error = DecodeError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), DecodeError> {
        self.key = Some(match key.serialize(Serializer)? {
            Node::Text(text) => text,
            Node::Integer(number) => number.to_string(),
            other => return Err(mismatch(&other, "a text as key")),
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DecodeError> {
        let key = self.key.take().unwrap_or_default();
        self.push(key, value)
    }
    fn end(self) -> Result<Node, DecodeError> {
        Ok(Node::Map(self.entries))
    }
}

impl ser::SerializeStruct for MapSerializer {
    type Ok = Node;
    type Error = DecodeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), DecodeError> {
        self.push(key.to_owned(), value)
    }
    fn end(self) -> Result<Node, DecodeError> {
        Ok(Node::Map(self.entries))
    }
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
        Node::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
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
