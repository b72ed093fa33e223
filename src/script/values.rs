//! JSON text ⇄ values of scripts.

use bytes::Bytes;
use rhai::{Array, Dynamic, Identifier, ImmutableString, Map};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::fmt;

use super::Limits;
use super::meter::{self, ELEMENTS_BETWEEN_LOOKS};
use super::reads::Wanted;
use super::subject::{ConnectionValue, UserValue};
use super::wide::{Wide, has_longer};

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
        parse(text.as_bytes()).map(State).map_err(|e| e.to_string())
    }

    /// Err: it holds something that JSON cannot, such as a function.
    pub fn to_json(&self) -> Result<String, String> {
        text(&self.0)
    }

    /// It is nested deeper than can be written, or thrown away on a small stack.
    pub fn is_too_deep(&self) -> bool {
        is_deeper(&self.0, DEPTH_MAX)
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        bytes(&self.0)
    }

    /// On the heap, what the allocator rounds up included.
    pub fn heap_bytes(&self) -> usize {
        heap_bytes(&self.0)
    }

    /// As new.
    pub fn is_empty(&self) -> bool {
        self.0.is_unit() || self.0.as_map_ref().is_ok_and(|m| m.is_empty())
    }
}

/// A whole number as scripts have it, exactly.
pub(super) fn whole(v: u64) -> Dynamic {
    i64::try_from(v).map_or_else(|_| Dynamic::from(Wide(v)), Dynamic::from_int)
}

/// Reads JSON text in one pass. Whole numbers of more than 64 bits are refused: they would be rounded.
pub(super) fn parse(text: &[u8]) -> Result<Dynamic, serde_json::Error> {
    read(text, None, &mut Room { text: usize::MAX, items: usize::MAX, entries: usize::MAX })
}

/// As `parse`. Err beyond what `room` has.
pub(super) fn parse_within(text: &[u8], room: &mut Room) -> Result<Dynamic, serde_json::Error> {
    read(text, None, room)
}

/// As `parse`, without the fields that are not wanted. Err beyond the limits of texts, arrays and maps in what is.
pub(super) fn parse_some(text: &[u8], wanted: &Wanted, limits: &Limits) -> Result<Dynamic, serde_json::Error> {
    let mut room = Room {
        text: limits.string_bytes.0 as usize,
        items: limits.array_items as usize,
        entries: limits.map_items as usize,
    };
    read(text, wanted.fields(), &mut room)
}

/// `None`: all of them.
type Fields<'a> = Option<&'a [(Identifier, Wanted)]>;

fn read(text: &[u8], fields: Fields, room: &mut Room) -> Result<Dynamic, serde_json::Error> {
    // Checked as a whole: cheaper than text by text.
    let text = simdutf8::basic::from_utf8(text).map_err(serde_json::Error::custom)?;
    if has_longer(text) {
        return Err(serde_json::Error::custom("a whole number of more than 64 bits, which would be rounded"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Seed { fields, room }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// What may still come.
#[derive(Clone)]
pub(super) struct Room {
    text: usize,
    items: usize,
    entries: usize,
}

/// Begins the text of errors that are about bounds.
pub(super) const TOO_LARGE: &str = "too large for a handler";

impl Room {
    /// As much as one value may hold in the run of a script.
    pub fn of_run() -> Room {
        let bounds = meter::bounds();
        Room { text: bounds.string_bytes, items: bounds.array_items, entries: bounds.map_items }
    }

    /// Takes an element of an array in, with all inside it, where it fits.
    pub fn holds(&mut self, element: &Dynamic) -> bool {
        let mut left = self.clone();
        let fits = left.items.checked_sub(1).and_then(|items| {
            left.items = items;
            left.measure(element)
        });
        if fits.is_some() {
            *self = left;
        }
        fits.is_some()
    }

    /// Takes what a value has, as the engine counts it; `None` beyond what is left.
    fn measure(&mut self, value: &Dynamic) -> Option<()> {
        if let Ok(text) = value.as_immutable_string_ref() {
            self.text = self.text.checked_sub(text.len())?;
        } else if let Ok(array) = value.as_array_ref() {
            self.items = self.items.checked_sub(array.len())?;
            array.iter().try_for_each(|value| self.measure(value))?;
        } else if let Ok(map) = value.as_map_ref() {
            self.entries = self.entries.checked_sub(map.len())?;
            map.values().try_for_each(|value| self.measure(value))?;
        }
        Some(())
    }

    fn take<E: Error>(left: &mut usize, by: usize, what: &str) -> Result<(), E> {
        *left = left.checked_sub(by).ok_or_else(|| E::custom(format_args!("{TOO_LARGE}: {what}")))?;
        Ok(())
    }
}

struct Seed<'a> {
    fields: Fields<'a>,
    room: &'a mut Room,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Dynamic;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Dynamic, D::Error> {
        d.deserialize_any(self)
    }
}

struct Key<'a>(Fields<'a>);

/// A key that is wanted, and what of its value.
type Found<'a> = Option<(Identifier, Fields<'a>)>;

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Found<'a>;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Found<'a>, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Found<'a>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<Found<'a>, E> {
        Ok(match self.0 {
            None => Some((v.into(), None)),
            Some(fields) => fields.iter().find(|(name, _)| name == v).map(|(name, of)| (name.clone(), of.fields())),
        })
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
        Ok(whole(v))
    }
    fn visit_f64<E: Error>(self, v: f64) -> Result<Dynamic, E> {
        Ok(Dynamic::from_float(v))
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<Dynamic, E> {
        Room::take(&mut self.room.text, v.len(), "more text than `string_bytes` of [script]")?;
        Ok(ImmutableString::from(v).into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Dynamic, A::Error> {
        let mut array = Array::new();
        while let Some(value) = seq.next_element_seed(Seed { fields: None, room: self.room })? {
            Room::take(&mut self.room.items, 1, "more elements than `array_items` of [script]")?;
            array.push(value);
        }
        Ok(Dynamic::from_array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some(found) = entries.next_key_seed(Key(self.fields))? {
            let Some((key, fields)) = found else {
                entries.next_value::<serde::de::IgnoredAny>()?;
                continue;
            };
            Room::take(&mut self.room.entries, 1, "more entries than `map_items` of [script]")?;
            map.insert(key, entries.next_value_seed(Seed { fields, room: self.room })?);
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

thread_local! {
    /// Where messages are written, to be copied once at their length.
    static DRAFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A longer draft's memory is given back.
const DRAFT_BYTES_KEPT: usize = 64 << 10;

/// JSON text as messages carry it.
pub(super) fn message(write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<Bytes, String> {
    DRAFT.with_borrow_mut(|draft| {
        draft.clear();
        let message = write(draft).map(|()| Bytes::copy_from_slice(draft));
        if draft.capacity() > DRAFT_BYTES_KEPT {
            *draft = Vec::new();
        }
        message
    })
}

/// As `text`, appended to `out`.
pub(super) fn write(value: &Dynamic, out: &mut Vec<u8>) -> Result<(), String> {
    write_at(value, out, 0)
}

/// As `write`.
pub(super) fn write_map(map: &Map, out: &mut Vec<u8>) -> Result<(), String> {
    map_at(map, out, 0)
}

/// Values inside of values. Below what parsers of JSON take (128), so that what is written can be read back.
const DEPTH_MAX: usize = 100;

fn write_at(value: &Dynamic, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return string(&text, out);
    }
    if let Ok(map) = value.as_map_ref() {
        return map_at(&map, out, depth);
    }
    if let Ok(array) = value.as_array_ref() {
        return array_at(&array, out, depth);
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
        return custom(value, out, depth);
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, String> {
    match depth + 1 {
        depth if depth > DEPTH_MAX => Err(format!("a value nested deeper than {DEPTH_MAX} cannot be sent")),
        depth => Ok(depth),
    }
}

fn map_at(map: &Map, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    let depth = deeper(depth)?;
    out.push(b'{');
    for (at, (key, value)) in map.iter().enumerate() {
        look(at)?;
        if at > 0 {
            out.push(b',');
        }
        string(key, out)?;
        out.push(b':');
        write_at(value, out, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn array_at(array: &Array, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    let depth = deeper(depth)?;
    out.push(b'[');
    for (at, value) in array.iter().enumerate() {
        look(at)?;
        if at > 0 {
            out.push(b',');
        }
        write_at(value, out, depth)?;
    }
    out.push(b']');
    Ok(())
}

/// A value of many parts takes long, and its text may outgrow it.
fn look(at: usize) -> Result<(), String> {
    match at % ELEMENTS_BETWEEN_LOOKS {
        0 => meter::go_on().map_err(|_| "the call has met a bound".to_owned()),
        _ => Ok(()),
    }
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(out, text).map_err(|e| e.to_string())
}

fn custom(value: &Dynamic, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if let Some(user) = value.read_lock::<UserValue>() {
        map_at(&user.map(), out, depth)
    } else if let Some(connection) = value.read_lock::<ConnectionValue>() {
        map_at(&connection.map(), out, depth)
    } else if let Some(wide) = value.read_lock::<Wide>() {
        serde_json::to_writer(out, &wide.0).map_err(|e| e.to_string())
    } else if value.is_fnptr() {
        Err("a function cannot be sent: JSON has none".into())
    } else {
        Err(format!("a value of type {} cannot be sent", value.type_name()))
    }
}

fn is_deeper(value: &Dynamic, left: usize) -> bool {
    if let Ok(map) = value.as_map_ref() {
        left == 0 || map.values().any(|v| is_deeper(v, left - 1))
    } else if let Ok(array) = value.as_array_ref() {
        left == 0 || array.iter().any(|v| is_deeper(v, left - 1))
    } else {
        false
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

/// What a value has on the heap. Maps are B-trees whose leaves have room for eleven entries and are half full at least;
/// texts are counted references to a text that is itself on the heap where it is longer than 23 bytes.
fn heap_bytes(value: &Dynamic) -> usize {
    const LEAF_BYTES: usize = 11 * (size_of::<Identifier>() + size_of::<Dynamic>()) + 16;
    const VALUE: usize = size_of::<Dynamic>();
    let long = |len: usize| if len > 23 { len + len / 8 + 16 } else { 0 };
    if let Ok(text) = value.as_immutable_string_ref() {
        48 + long(text.len())
    } else if let Ok(map) = value.as_map_ref() {
        let nodes = map.len().div_ceil(7);
        32 + nodes * (LEAF_BYTES + LEAF_BYTES / 4)
            + map.iter().map(|(k, v)| long(k.len()) + heap_bytes(v)).sum::<usize>()
    } else if let Ok(array) = value.as_array_ref() {
        32 + array.capacity() * VALUE + array.iter().map(heap_bytes).sum::<usize>()
    } else if value.is_blob() {
        32 + value.as_blob_ref().map_or(0, |blob| blob.capacity())
    } else {
        0
    }
}
