//! Rhai's functions whose result may outgrow what they are given, or that may never end: here they look before they
//! allocate. Rhai looks at sizes after a call.
//!
//! `tests/growth.txt` lists all other functions, and why each of them needs nothing here.

use super::super::current::{Raised, raise};
use super::super::meter::{bounds, go_on};
use super::super::values;
use rhai::{Array, Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Map, Module, Position};

pub(super) fn add(module: &mut Module) {
    replace(module);
    pad(module);
    split(module);
    FuncRegistration::new("to_chars").set_into_module(module, |text: &str| collect(text.chars().map(Dynamic::from)));
    let json = |map: &mut Map| {
        let mut out = Vec::new();
        values::write_map(map, &mut out).map_err(raise)?;
        String::from_utf8(out).map_err(|e| raise(e.to_string()))
    };
    FuncRegistration::new("to_json").with_purity(true).set_into_module(module, json);
}

/// As Rhai says it, so that its own bounds and these read the same.
fn too_large(what: &str) -> Raised {
    EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE).into()
}

fn fits_text(bytes: Option<usize>) -> Result<(), Raised> {
    match bytes {
        Some(bytes) if bytes <= bounds().string_bytes => Ok(()),
        _ => Err(too_large("Length of string")),
    }
}

fn replace(module: &mut Module) {
    type Text = ImmutableString;
    let texts = |text: &mut Text, find: &str, by: &str| replaced(text, find, by);
    FuncRegistration::new("replace").set_into_module(module, texts);
    FuncRegistration::new("replace").set_into_module(module, |text: &mut Text, find: &str, by: char| {
        replaced(text, find, by.encode_utf8(&mut [0; 4]))
    });
    FuncRegistration::new("replace").set_into_module(module, |text: &mut Text, find: char, by: &str| {
        replaced(text, find.encode_utf8(&mut [0; 4]), by)
    });
    FuncRegistration::new("replace").set_into_module(module, |text: &mut Text, find: char, by: char| {
        replaced(text, find.encode_utf8(&mut [0; 4]), by.encode_utf8(&mut [0; 4]))
    });
}

fn replaced(text: &mut ImmutableString, find: &str, by: &str) -> Result<(), Raised> {
    if by.len() > find.len() {
        let grows = text.matches(find).count().checked_mul(by.len() - find.len());
        fits_text(grows.and_then(|more| more.checked_add(text.len())))?;
    }
    if !text.is_empty() {
        *text = text.replace(find, by).into();
    }
    Ok(())
}

fn pad(module: &mut Module) {
    let text = |text: &mut ImmutableString, len: i64, with: &str| padded(text, len, with);
    FuncRegistration::new("pad").set_into_module(module, text);
    FuncRegistration::new("pad").set_into_module(module, |text: &mut ImmutableString, len: i64, with: char| {
        padded(text, len, with.encode_utf8(&mut [0; 4]))
    });
    FuncRegistration::new("pad").set_into_module(module, |array: &mut Array, len: i64, item: Dynamic| {
        let more = usize::try_from(len).unwrap_or(0).saturating_sub(array.len());
        // Rhai multiplies without a look at overflow. What the items hold inside is counted by Rhai afterwards: the bound
        // here keeps their number, and so the bytes, to what an array may have.
        let bounds = bounds();
        if more > bounds.array_items.saturating_sub(array.len()) {
            return Err(too_large("Size of array/BLOB"));
        }
        for _ in 0..more {
            go_on()?;
            array.push(item.clone());
        }
        Ok(())
    });
}

/// `len` is of characters. Rhai's own never ends where there is nothing to pad with.
fn padded(text: &mut ImmutableString, len: i64, with: &str) -> Result<(), Raised> {
    let missing = usize::try_from(len).unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 || with.is_empty() {
        return Ok(());
    }
    fits_text(missing.checked_add(text.len()))?; // a character has a byte at least
    let padding = with.chars().cycle().take(missing);
    let bytes: usize = padding.clone().map(char::len_utf8).sum();
    fits_text(bytes.checked_add(text.len()))?;
    text.make_mut().extend(padding);
    Ok(())
}

fn split(module: &mut Module) {
    fn of<F>(module: &mut Module, name: &str, split: F)
    where
        F: Fn(&str, &str, usize) -> Result<Array, Raised> + Copy + Send + Sync + 'static,
    {
        let all = usize::MAX;
        let at_text = move |text: &mut ImmutableString, by: &str| split(text, by, all);
        FuncRegistration::new(name).with_purity(true).set_into_module(module, at_text);
        let at_char = move |text: &mut ImmutableString, by: char| split(text, by.encode_utf8(&mut [0; 4]), all);
        FuncRegistration::new(name).with_purity(true).set_into_module(module, at_char);
        let some_at_text = move |text: &mut ImmutableString, by: &str, n: i64| split(text, by, parts(n));
        FuncRegistration::new(name).with_purity(true).set_into_module(module, some_at_text);
        let some_at_char =
            move |text: &mut ImmutableString, by: char, n: i64| split(text, by.encode_utf8(&mut [0; 4]), parts(n));
        FuncRegistration::new(name).with_purity(true).set_into_module(module, some_at_char);
    }
    of(module, "split", |text, by, n| collect(text.splitn(n, by).map(part)));
    of(module, "split_rev", |text, by, n| collect(text.rsplitn(n, by).map(part)));
    let words = |text: &mut ImmutableString| match text.is_empty() {
        true => Ok(vec![text.clone().into()]),
        false => collect(text.split_whitespace().map(part)),
    };
    FuncRegistration::new("split").with_purity(true).set_into_module(module, words);
}

fn part(text: &str) -> Dynamic {
    ImmutableString::from(text).into()
}

/// As Rhai: one part at least.
fn parts(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0).max(1)
}

fn collect(items: impl Iterator<Item = Dynamic>) -> Result<Array, Raised> {
    let max = bounds().array_items;
    let mut array = Array::new();
    for item in items {
        if array.len() == max {
            return Err(too_large("Size of array/BLOB"));
        }
        array.push(item);
    }
    Ok(array)
}
