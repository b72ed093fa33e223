//! What a call was given: the members of a JSON object, or the parameters of a query.

use super::fail::{Fail, Why};
use super::json::members;
use crate::model::{EXACT_MAX, did_you_mean, query_fault, query_pairs};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Taken one by one; `finish` tells of what nobody took.
pub(super) struct Args<'a> {
    entries: Vec<(Cow<'a, str>, Arg<'a>)>,
    asked: Vec<&'static str>,
}

enum Arg<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

impl<'a> Args<'a> {
    pub fn of_body(body: &'a [u8]) -> Result<Args<'a>, Fail> {
        let text = std::str::from_utf8(body).map_err(|_| Fail::new(Why::InvalidJson, "not UTF-8"))?;
        Args::of_json(text)
    }

    pub fn of_json(text: &'a str) -> Result<Args<'a>, Fail> {
        let members = members(text).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => Fail { why: Why::InvalidBody, ..Fail::json(&e) },
            _ => Fail::json(&e),
        })?;
        let entries = members.into_iter().map(|(key, value)| (key, Arg::Json(value))).collect();
        Ok(Args { entries, asked: Vec::new() })
    }

    pub fn of_query(query: &'a str) -> Result<Args<'a>, Fail> {
        decodes(query)?;
        let mut entries: Vec<(Cow<'a, str>, Arg<'a>)> = Vec::new();
        for (name, value) in query_pairs(query) {
            if entries.iter().any(|(known, _)| *known == name) {
                return Err(Fail::body(format!("`{}` comes twice", name.escape_debug())));
            }
            entries.push((name, Arg::Text(value)));
        }
        Ok(Args { entries, asked: Vec::new() })
    }

    /// From elsewhere than the query: a part of the path.
    pub fn put(&mut self, name: &'a str, value: Cow<'a, str>) -> Result<(), Fail> {
        if self.entries.iter().any(|(known, _)| known == name) {
            return Err(Fail::body(format!("`{name}` is in the path and in the query")));
        }
        self.entries.push((Cow::Borrowed(name), Arg::Text(value)));
        Ok(())
    }

    /// null is as if it were not there.
    fn take(&mut self, name: &'static str) -> Option<Arg<'a>> {
        self.asked.push(name);
        let at = self.entries.iter().position(|(key, _)| key == name)?;
        match self.entries.swap_remove(at).1 {
            Arg::Json(value) if value.get() == "null" => None,
            arg => Some(arg),
        }
    }

    /// JSON text as it was written, null too: for what may be left out, but not be nothing.
    pub fn given(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.asked.push(name);
        let at = self.entries.iter().position(|(key, arg)| key == name && matches!(arg, Arg::Json(_)))?;
        match self.entries.swap_remove(at).1 {
            Arg::Json(value) => Some(value),
            Arg::Text(_) => None,
        }
    }

    /// JSON text as it was written.
    pub fn raw(&mut self, name: &'static str) -> Result<Option<&'a RawValue>, Fail> {
        match self.take(name) {
            None => Ok(None),
            Some(Arg::Json(value)) => Ok(Some(value)),
            Some(Arg::Text(_)) => Err(Fail::body(format!("`{name}` belongs into a JSON body"))),
        }
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Fail> {
        match self.take(name) {
            Some(Arg::Text(text)) => Ok(Some(text.into_owned())),
            Some(Arg::Json(value)) => read(name, value, "a text").map(Some),
            None => Ok(None),
        }
    }

    pub fn number(&mut self, name: &'static str) -> Result<Option<u64>, Fail> {
        const WHAT: &str = "a whole number";
        match self.take(name) {
            Some(Arg::Text(text)) => text.parse().map(Some).map_err(|_| wrong(name, WHAT)),
            // A template makes a text of a parameter.
            Some(Arg::Json(value)) if value.get().starts_with('"') => {
                read::<String>(name, value, WHAT)?.parse().map(Some).map_err(|_| wrong(name, WHAT))
            }
            Some(Arg::Json(value)) => whole(value).map(Some).ok_or_else(|| wrong(name, WHAT)),
            None => Ok(None),
        }
    }

    /// One or several. `None` where nothing is said, which is another thing than an empty list.
    pub fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Fail> {
        match self.take(name) {
            Some(Arg::Text(text)) => Ok(Some(vec![text.into_owned()])),
            Some(Arg::Json(value)) if value.get().starts_with('"') => Ok(Some(vec![read(name, value, "a text")?])),
            Some(Arg::Json(value)) => read(name, value, "a list of texts").map(Some),
            None => Ok(None),
        }
    }

    /// All that is left, whatever the names: for objects whose keys are data.
    pub fn rest(&mut self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.entries.drain(..).filter_map(|(key, arg)| match arg {
            Arg::Json(value) => Some((key, value)),
            Arg::Text(_) => None,
        })
    }

    /// The names that were asked for.
    #[cfg(test)]
    pub fn asked(&self) -> impl Iterator<Item = &'static str> {
        self.asked.iter().copied()
    }

    pub fn finish(self) -> Result<(), Fail> {
        let Some((name, _)) = self.entries.first() else { return Ok(()) };
        let hint = did_you_mean(name, self.asked.iter().copied()).map(|h| format!("; {h}")).unwrap_or_default();
        Err(Fail::body(format!("`{name}` is not known here{hint}")))
    }
}

/// Every parameter must be readable: one that is left out could be the one that narrows what is asked for.
pub(super) fn decodes(query: &str) -> Result<(), Fail> {
    match query_fault(query) {
        None => Ok(()),
        Some(pair) => {
            let name = pair.split('=').next().unwrap_or_default().escape_debug();
            Err(Fail::body(format!(
                "`{name}` in the query is not UTF-8 in percent-encoding, or one parameter too many"
            )))
        }
    }
}

/// 42, and 42.0 as well: JSON has one kind of number, and some languages write all of them so.
fn whole(value: &RawValue) -> Option<u64> {
    serde_json::from_str(value.get()).ok().or_else(|| {
        let float: f64 = serde_json::from_str(value.get()).ok()?;
        let exact = float.fract() == 0.0 && (0.0..EXACT_MAX).contains(&float);
        exact.then_some(float as u64)
    })
}

pub(super) fn wrong(name: &str, expected: &str) -> Fail {
    Fail::body(format!("`{name}` must be {expected}"))
}

fn read<T: DeserializeOwned>(name: &str, value: &RawValue, expected: &str) -> Result<T, Fail> {
    serde_json::from_str(value.get()).map_err(|_| wrong(name, expected))
}
