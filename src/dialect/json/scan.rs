//! One pass over an object's keys: values that nobody asked for are skipped, those asked for stay text.
//! Skipping is a loop with its nesting on the heap, so that no depth overflows the stack.

use crate::model::Channels;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// The values of the fields asked for, in their order; of a doubled key the last.
pub(super) type Found<'a> = SmallVec<[Option<&'a RawValue>; 8]>;

/// Looks up `names` in the object that `text` is. `None`: no JSON, or no object.
pub(super) fn fields<'a>(text: &'a str, names: &[Box<str>]) -> Option<Found<'a>> {
    let mut found = Found::from_elem(None, names.len());
    fields_into(text, names, &mut found).then_some(found)
}

/// As `fields`; the hot path spares the moves. `false`: no JSON, or no object.
pub(super) fn fields_into<'a>(text: &'a str, names: &[Box<str>], found: &mut [Option<&'a RawValue>]) -> bool {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Fields { names, found }).is_ok() && json.end().is_ok()
}

/// The value at a path of names. `None`: nothing there.
pub(super) fn at<'a>(text: &'a str, path: &[Box<str>]) -> Option<&'a str> {
    path.iter().try_fold(text, |text, name| Some(fields(text, std::slice::from_ref(name))?[0]?.get()))
}

struct Fields<'n, 'a> {
    names: &'n [Box<str>],
    found: &'n mut [Option<&'a RawValue>],
}

impl<'a> Visitor<'a> for Fields<'_, 'a> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(which) = map.next_key_seed(Key(self.names))? {
            match which {
                Some(i) => self.found[i] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Key<'n>(&'n [Box<str>]);

impl<'a> DeserializeSeed<'a> for Key<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'a>>(self, d: D) -> Result<Option<usize>, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| **name == *key))
    }
}

/// A JSON string's text, borrowed where nothing in it is escaped. `None`: no string.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inside.as_bytes()) {
        None => Some(Cow::Borrowed(inside)),
        Some(_) => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// Why a list is no list of texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadList {
    Type,
    TooLong,
}

/// An array of at most `max` strings, or one string.
pub(super) fn texts(raw: &RawValue, max: u32) -> Result<Channels<'_>, BadList> {
    if raw.get().starts_with('"') {
        return text(raw).map(|one| Channels::from_iter([one])).ok_or(BadList::Type);
    }
    let mut too_long = false;
    serde_json::Deserializer::from_str(raw.get())
        .deserialize_seq(Texts { max, too_long: &mut too_long })
        .map_err(|_| if too_long { BadList::TooLong } else { BadList::Type })
}

struct Texts<'t> {
    max: u32,
    too_long: &'t mut bool,
}

impl<'a> Visitor<'a> for Texts<'_> {
    type Value = Channels<'a>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("strings")
    }
    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<Channels<'a>, S::Error> {
        let mut texts = Channels::new();
        while let Some(raw) = seq.next_element::<&'a RawValue>()? {
            if texts.len() == self.max as usize {
                *self.too_long = true;
                return Err(S::Error::custom("too long"));
            }
            texts.push(text(raw).ok_or_else(|| S::Error::custom("no string"))?);
        }
        Ok(texts)
    }
}
