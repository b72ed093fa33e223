//! From the tree to settings types, with the place of the first thing that serde does not like.

use super::doc::{At, Entry, Node, Value};
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use std::fmt;

/// What serde said, and where.
#[derive(Debug)]
pub struct Unread {
    pub what: String,
    pub at: Option<At>,
}

/// Reads a settings type from a tree.
pub fn read<T: de::DeserializeOwned>(node: &Node) -> Result<T, Unread> {
    T::deserialize(node)
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Unread {}

impl de::Error for Unread {
    fn custom<T: fmt::Display>(what: T) -> Unread {
        Unread { what: what.to_string(), at: None }
    }
}

impl Unread {
    /// The innermost place stays.
    fn at(self, node: &Node) -> Unread {
        Unread { at: self.at.or_else(|| Some(node.at.clone())), ..self }
    }
}

impl<'de> IntoDeserializer<'de, Unread> for &'de Node {
    type Deserializer = &'de Node;
    fn into_deserializer(self) -> &'de Node {
        self
    }
}

fn entries(entries: &[Entry]) -> impl Iterator<Item = (&str, &Node)> {
    entries.iter().map(|e| (e.name.as_str(), &e.node))
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(n) => match u64::try_from(*n) {
                Ok(n) => visitor.visit_u64(n),
                Err(_) => visitor.visit_i64(*n),
            },
            Value::Float(n) => visitor.visit_f64(*n),
            Value::Boolean(b) => visitor.visit_bool(*b),
            Value::Array(items) => {
                let mut seq = SeqDeserializer::new(items.iter());
                visitor.visit_seq(&mut seq).and_then(|v| seq.end().map(|()| v))
            }
            Value::Table(table) => {
                let mut map = MapDeserializer::new(entries(table));
                visitor.visit_map(&mut map).and_then(|v| map.end().map(|()| v))
            }
        }
        .map_err(|e| e.at(self))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_newtype_struct(self)
    }

    /// `"word"`, or a table of one key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        match &self.value {
            Value::Text(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            Value::Table(table) if table.len() == 1 => visitor.visit_enum(Variant(&table[0])),
            _ => Err(de::Error::custom("expected a word or a table of one key")),
        }
        .map_err(|e| e.at(self))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Variant<'de>(&'de Entry);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Unread;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Unread> {
        let name: StrDeserializer<'_, Unread> = self.0.name.as_str().into_deserializer();
        Ok((seed.deserialize(name).map_err(|e| Unread { at: Some(self.0.at.clone()), ..e })?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Unread;
    fn unit_variant(self) -> Result<(), Unread> {
        Err(Unread { what: format!("`{}` takes no value", self.0.name), at: Some(self.0.at.clone()) })
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unread> {
        seed.deserialize(&self.0.node)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unread> {
        self.0.node.deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Unread> {
        self.0.node.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::doc::Doc;
    use crate::model::{Ms, SecretSource};
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Made {
        word: Word,
        secret: Option<SecretSource>,
        wait: Ms,
        ports: Vec<u16>,
        any: serde_json::Value,
    }

    fn read(text: &str) -> Result<Made, String> {
        let doc = Doc::parse("x.toml", text, &mut Vec::new());
        super::read(&doc.root).map_err(|e| doc.fault(&e.at.unwrap(), e.what).to_string())
    }

    #[test]
    fn settings_are_read_in_the_order_of_the_file() {
        let made = read("word = \"two\"\nsecret = { env = \"A\" }\nwait = \"1s\"\nports = [1, 2]\nany = { z = 1, a = [true, -1.5] }").unwrap();
        assert_eq!(made.any.to_string(), r#"{"z":1,"a":[true,-1.5]}"#);
        assert_eq!((made.word, made.secret), (Word::Two, Some(SecretSource::Env("A".into()))));
        assert_eq!((made.wait, made.ports), (Ms(1000), vec![1, 2]));
    }

    #[test]
    fn what_serde_does_not_like_is_told_with_its_place() {
        let rest = "wait = 1\nany = 1\nports = [1,\n 70000]\n";
        assert!(read(&format!("word = \"one\"\n{rest}")).unwrap_err().starts_with("x.toml:5:2: invalid value"));
        let told = read("wait = 1\nany = 1\nports = []\nword = \"three\"\n").unwrap_err();
        assert!(told.starts_with("x.toml:4:8: unknown variant"), "{told}");
    }
}
