//! Trees to an operation's input, as serde reads them. A query has only texts: numbers and truth values are read out of
//! them where an input asks for such.

use serde::de::{self, IntoDeserializer as _};

use super::{DecodeError, Name, Node, TIMESTAMP, mismatch};

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
            Self::Map(entries) | Self::Dictionary(entries) => {
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None, key: Name::default() })
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
            Self::Map(entries) | Self::Dictionary(entries) => {
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None, key: Name::default() })
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
    entries: std::vec::IntoIter<(Name, Node)>,
    value: Option<Node>,
    key: Name,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = DecodeError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        self.key = key;
        let name: de::value::StrDeserializer<'_, DecodeError> = self.key.as_ref().into_deserializer();
        seed.deserialize(name).map(Some)
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
