//! JSON text ⇄ values of scripts.

use rhai::{Array, Dynamic, Identifier, ImmutableString, Map};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

use super::Limits;
use super::subject::{ConnectionValue, UserValue};

/// What an entity keeps between calls: `this` of its handlers; a map at first.
#[derive(Debug)]
pub struct State(pub(super) Dynamic);

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl Clone for State {
    /// Nothing is shared with the copy.
    fn clone(&self) -> State {
        State(self.0.flatten_clone())
    }
}

impl State {
    pub fn new() -> State {
        State(Dynamic::from_map(Map::new()))
    }

    /// Err: no JSON.
    pub fn from_json(text: &str) -> Result<State, String> {
        parse(text.as_bytes(), None).map(State).map_err(|e| e.to_string())
    }

    /// Err: it holds something that JSON cannot, such as a function.
    pub fn to_json(&self) -> Result<String, String> {
        text(&self.0)
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        bytes(&self.0)
    }

    /// As new.
    pub fn is_empty(&self) -> bool {
        self.0.is_unit() || self.0.as_map_ref().is_ok_and(|m| m.is_empty())
    }
}

/// Reads JSON text in one pass. Whole numbers beyond 64 bits with sign become floats. `limits`: Err beyond their texts,
/// arrays and maps.
pub(super) fn parse(text: &[u8], limits: Option<&Limits>) -> Result<Dynamic, serde_json::Error> {
    let mut room = match limits {
        Some(l) => {
            Room { text: l.string_bytes.0 as usize, items: l.array_items as usize, entries: l.map_items as usize }
        }
        None => Room { text: usize::MAX, items: usize::MAX, entries: usize::MAX },
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Seed(&mut room).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// What may still come.
struct Room {
    text: usize,
    items: usize,
    entries: usize,
}

/// Begins the text of errors that are about bounds.
pub(super) const TOO_LARGE: &str = "too large for a handler";

impl Room {
    fn take<E: Error>(left: &mut usize, by: usize, what: &str) -> Result<(), E> {
        *left = left.checked_sub(by).ok_or_else(|| E::custom(format_args!("{TOO_LARGE}: {what}")))?;
        Ok(())
    }
}

struct Seed<'a>(&'a mut Room);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Dynamic;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Dynamic, D::Error> {
        d.deserialize_any(self)
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Identifier;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Identifier, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Identifier;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<Identifier, E> {
        Ok(v.into())
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Dynamic;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }
    fn visit_bool<E: Error>(self, v: bool) -> Result<Dynamic, E> {
        Ok(v.into())
    }
    fn visit_i64<E: Error>(self, v: i64) -> Result<Dynamic, E> {
        Ok(v.into())
    }
    fn visit_u64<E: Error>(self, v: u64) -> Result<Dynamic, E> {
        Ok(i64::try_from(v).map_or_else(|_| Dynamic::from_float(v as f64), Dynamic::from_int))
    }
    fn visit_f64<E: Error>(self, v: f64) -> Result<Dynamic, E> {
        Ok(Dynamic::from_float(v))
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<Dynamic, E> {
        Room::take(&mut self.0.text, v.len(), "more text than `string_bytes` of [script]")?;
        Ok(ImmutableString::from(v).into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Dynamic, A::Error> {
        let mut array = Array::new();
        while let Some(value) = seq.next_element_seed(Seed(self.0))? {
            Room::take(&mut self.0.items, 1, "more elements than `array_items` of [script]")?;
            array.push(value);
        }
        Ok(Dynamic::from_array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            Room::take(&mut self.0.entries, 1, "more entries than `map_items` of [script]")?;
            map.insert(key, entries.next_value_seed(Seed(self.0))?);
        }
        Ok(Dynamic::from_map(map))
    }
}

/// JSON text of a value. Err: what in it cannot be sent.
pub(super) fn text(value: &Dynamic) -> Result<String, String> {
    let mut out = Vec::with_capacity(128);
    write(value, &mut out)?;
    String::from_utf8(out).map_err(|e| e.to_string())
}

/// As `text`, appended to `out`.
pub(super) fn write(value: &Dynamic, out: &mut Vec<u8>) -> Result<(), String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return string(&text, out);
    }
    if let Ok(map) = value.as_map_ref() {
        out.push(b'{');
        for (at, (key, value)) in map.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            string(key, out)?;
            out.push(b':');
            write(value, out)?;
        }
        out.push(b'}');
        return Ok(());
    }
    if let Ok(array) = value.as_array_ref() {
        out.push(b'[');
        for (at, value) in array.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(value, out)?;
        }
        out.push(b']');
        return Ok(());
    }
    if value.is_unit() {
        out.extend_from_slice(b"null");
    } else if let Ok(v) = value.as_int() {
        return serde_json::to_writer(out, &v).map_err(|e| e.to_string());
    } else if let Ok(v) = value.as_bool() {
        out.extend_from_slice(if v { b"true" } else { b"false" });
    } else if let Ok(v) = value.as_float() {
        if !v.is_finite() {
            return Err(format!("the number {v} cannot be sent: JSON has no such number"));
        }
        return serde_json::to_writer(out, &v).map_err(|e| e.to_string());
    } else if let Ok(v) = value.as_char() {
        return string(v.encode_utf8(&mut [0; 4]), out);
    } else {
        return custom(value, out);
    }
    Ok(())
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(out, text).map_err(|e| e.to_string())
}

fn custom(value: &Dynamic, out: &mut Vec<u8>) -> Result<(), String> {
    if let Some(user) = value.read_lock::<UserValue>() {
        write(&user.map().into(), out)
    } else if let Some(connection) = value.read_lock::<ConnectionValue>() {
        write(&connection.map().into(), out)
    } else if value.is_fnptr() {
        Err("a function cannot be sent: JSON has none".into())
    } else {
        Err(format!("a value of type {} cannot be sent", value.type_name()))
    }
}

fn bytes(value: &Dynamic) -> usize {
    /// Of a value itself; a map's entry has its key beside it.
    const VALUE: usize = size_of::<Dynamic>();
    VALUE
        + if let Ok(text) = value.as_immutable_string_ref() {
            text.len()
        } else if let Ok(map) = value.as_map_ref() {
            map.iter().map(|(k, v)| size_of::<Identifier>() + k.len().saturating_sub(23) + bytes(v)).sum()
        } else if let Ok(array) = value.as_array_ref() {
            array.iter().map(bytes).sum()
        } else {
            0
        }
}
