//! An operation's output to a tree, as serde writes it. What is absent is left out.

use serde::ser::{self, Serialize};

use super::{DICTIONARY, DecodeError, Name, Node, TIMESTAMP, mismatch};

pub(super) struct Serializer;

pub(super) struct ListSerializer(Vec<Node>);

pub(super) struct MapSerializer {
    entries: Vec<(Name, Node)>,
    key: Option<Name>,
}

impl MapSerializer {
    fn new(length: usize) -> Self {
        Self { entries: Vec::with_capacity(length), key: None }
    }

    fn push<T: Serialize + ?Sized>(&mut self, key: Name, value: &T) -> Result<(), DecodeError> {
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
            (DICTIONARY, Node::Map(entries)) => Ok(Node::Dictionary(entries)),
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
    fn serialize_map(self, length: Option<usize>) -> Result<MapSerializer, DecodeError> {
        Ok(MapSerializer::new(length.unwrap_or(0)))
    }
    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<MapSerializer, DecodeError> {
        Ok(MapSerializer::new(length))
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
            Node::Text(text) => text.into(),
            Node::Integer(number) => number.to_string().into(),
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
        self.push(Name::Borrowed(key), value)
    }
    fn end(self) -> Result<Node, DecodeError> {
        Ok(Node::Map(self.entries))
    }
}
