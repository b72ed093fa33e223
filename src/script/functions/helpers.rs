//! Time, chance, JSON and numbers: the host's where tests must be able to fix them.

use super::super::current::{Raised, raise, with};
use super::super::values;
use super::{Shelf, arguments as arg};
use crate::model::{ChannelName, ConnectionId, iso8601};
use rhai::{Dynamic, ImmutableString};

/// So that names with two or three of them stay within `ChannelName::BYTES_MAX`, and keys of entities within theirs.
const SEGMENT_BYTES_MAX: usize = 100;

pub(super) fn add(shelf: &mut Shelf) {
    shelf.group("Time and chance");
    shelf.function("now", "The time, in milliseconds since 1970.", "let started = now();");
    shelf.form(&[], "int", || with(|c| Ok(c.around.host.now().wall as i64)));
    shelf.function(
        "iso",
        "A time as `2026-01-01T00:00:00.000Z`; now's without an argument.",
        "reply(#{ timestamp: iso() });",
    );
    shelf.form(&[], "string", || with(|c| Ok(iso8601(c.around.host.now().wall))));
    shelf.form(&["at: int"], "string", |at: i64| match u64::try_from(at) {
        Ok(at) => Ok(iso8601(at)),
        Err(_) => Err(raise(format!("a time is not negative, this is {at}"))),
    });
    shelf.function(
        "parse_time",
        "Milliseconds since 1970 of a time such as `2026-01-01T00:00:00Z` or a date (its midnight, UTC); `()` where it is \
         none.",
        r#"let due = parse_time("2026-01-01T08:30:00Z") ?? now();"#,
    );
    shelf.form(&["time: ?"], "int | ()", |time: Dynamic| parsed(&time, parse_time));
    shelf.function(
        "duration",
        "Milliseconds of `\"500ms\"`, `\"5s\"`, `\"1h30m\"`.",
        r#"let late = now() - event.at > duration("1h30m");"#,
    );
    shelf.form(&["text: string"], "int", |text: Dynamic| arg::duration(&text).map(|ms| ms as i64));
    shelf.function("uuid", "A fresh random id, a UUID of version 4.", "let ticket = uuid();");
    shelf.form(&[], "string", || with(|c| Ok(ConnectionId::uuid(c.around.host.random_id()).to_string())));
    shelf.function(
        "random",
        "A number from 0 up to, without, 1; or a whole number from `low` to `high`, both included.",
        r#"let dice = random(1, 6);"#,
    );
    // 53 bits: as many as a float holds.
    shelf.form(&[], "float", || with(|c| Ok((c.around.host.random() >> 75) as f64 / (1u64 << 53) as f64)));
    shelf.form(&["low: int", "high: int"], "int", |low: i64, high: i64| {
        with(|c| {
            if low > high {
                return Err(raise(format!("random({low}, {high}): `low` is above `high`")));
            }
            let span = (high as i128 - low as i128) as u128 + 1;
            // 64 random bits above the span: what is not even about it is below anybody's notice.
            Ok((low as i128 + (((c.around.host.random() >> 64) * span) >> 64) as i128) as i64)
        })
    });

    shelf.group("Texts, JSON and numbers");
    shelf.function(
        "is_segment",
        "Whether a value can be one segment of a channel's name: a text that is not empty, without `:` and control \
         characters, 100 bytes at most. Ask before a client's text goes into a name.",
        r#"if !is_segment(event.data.room) { refuse("invalid_message", "No such room"); }"#,
    );
    shelf.form(&["value: ?"], "bool", |value: Dynamic| {
        value.as_immutable_string_ref().is_ok_and(|text| {
            text.len() <= SEGMENT_BYTES_MAX && !text.contains(':') && ChannelName::check(&text).is_ok()
        })
    });
    shelf.function("json", "JSON text of a value.", r#"let text = json(#{ a: [1, 2] });"#);
    shelf.form(&["value: ?"], "string", |value: Dynamic| values::text(&value).map_err(raise));
    shelf.function(
        "parse_json",
        "The value of a JSON text; `()` where it is none.",
        r#"let order = parse_json("{\"id\": 7}");"#,
    );
    shelf.form(&["text: string"], "?", parse_json);
    shelf.function(
        "parse_int",
        "The whole number that a text says, with digits of `radix`, 10 unless given; a whole number itself; `()` for \
         whatever else. A client may send anything.",
        r#"let beds = parse_int("12") ?? 0;"#,
    );
    shelf.form(&["text: ?"], "int | ()", |value: Dynamic| parse_int(&value, 10));
    shelf.form(&["text: ?"], "int | ()", |text: ImmutableString| parse_int(&text.into(), 10));
    shelf.form(&["text: ?", "radix: int"], "int | ()", |value: Dynamic, radix: i64| parse_int(&value, radix));
    shelf.form(&["text: ?", "radix: int"], "int | ()", |text: ImmutableString, radix: i64| {
        parse_int(&text.into(), radix)
    });
    shelf.function(
        "parse_float",
        "The number that a text says; a number itself; `()` for whatever else.",
        r#"let weight = parse_float("71.5") ?? 0.0;"#,
    );
    shelf.form(&["text: ?"], "float | ()", |value: Dynamic| parse_float(&value));
    shelf.form(&["text: ?"], "float | ()", |text: ImmutableString| parse_float(&text.into()));
    shelf.function(
        "percent_change",
        "By how many per cent `new` is above `old`, with two decimals; `()` where `old` is 0.",
        "let change = percent_change(80, 100); // 25.0",
    );
    shelf.form(&["old: int | float", "new: int | float"], "float | ()", |old: Dynamic, new: Dynamic| {
        percent_change(&old, &new).map(|change| change.map_or(Dynamic::UNIT, Dynamic::from_float))
    });
    shelf.function(
        "percent_text",
        "As `percent_change`, as people read it: `+25%`, `-3.5%`, `0%`; `n/a` where `old` is 0.",
        "let shown = percent_text(80, 100);",
    );
    shelf.form(&["old: int | float", "new: int | float"], "string", |old: Dynamic, new: Dynamic| {
        percent_change(&old, &new).map(|change| match change {
            Some(0.0) => "0%".to_owned(),
            Some(change) => format!("{change:+}%"),
            None => "n/a".to_owned(),
        })
    });
    shelf.function("round", "A number rounded to so many decimals.", "let price = round(12.3456, 2); // 12.35");
    shelf.form(&["number: int | float", "decimals: int"], "float", |n: Dynamic, decimals: i64| {
        number(&n).map(|n| round(n, decimals))
    });
}

fn parse_json(text: &str) -> Result<Dynamic, Raised> {
    match values::parse_within(text.as_bytes(), &mut values::Room::of_run()) {
        Ok(value) => Ok(value),
        // A bound, and not the text's form.
        Err(e) if e.to_string().starts_with(values::TOO_LARGE) => Err(raise(e.to_string())),
        Err(_) => Ok(Dynamic::UNIT),
    }
}

/// What `parse` makes of a text; `()` of whatever else. What clients send is no mistake of the plugin's.
fn parsed<T: Into<Dynamic>>(value: &Dynamic, parse: impl FnOnce(&str) -> Option<T>) -> Dynamic {
    let text = value.as_immutable_string_ref().ok();
    text.and_then(|text| parse(&text)).map_or(Dynamic::UNIT, Into::into)
}

fn parse_int(value: &Dynamic, radix: i64) -> Result<Dynamic, Raised> {
    let radix = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix));
    let radix = radix.ok_or_else(|| raise("a radix is from 2 to 36"))?;
    Ok(match value.as_int() {
        Ok(_) => value.clone(),
        Err(_) => parsed(value, |text| i64::from_str_radix(text.trim(), radix).ok()),
    })
}

fn parse_float(value: &Dynamic) -> Dynamic {
    match value.as_float().or_else(|_| value.as_int().map(|v| v as f64)) {
        Ok(number) => number.into(),
        // "inf" and "nan" are none: JSON has no such numbers.
        Err(_) => parsed(value, |text| text.trim().parse::<f64>().ok().filter(|n| n.is_finite())),
    }
}

fn parse_time(text: &str) -> Option<i64> {
    let at = text.parse::<jiff::Timestamp>().or_else(|e| match text.parse::<jiff::civil::Date>() {
        Ok(date) if text.len() == 10 => date.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp()),
        _ => Err(e),
    });
    at.ok().map(|at| at.as_millisecond())
}

fn number(value: &Dynamic) -> Result<f64, Raised> {
    let number = value.as_float().or_else(|_| value.as_int().map(|v| v as f64));
    number.map_err(|actual| raise(format!("a number is needed here, this is {}", arg::typ(actual))))
}

fn percent_change(old: &Dynamic, new: &Dynamic) -> Result<Option<f64>, Raised> {
    let (old, new) = (number(old)?, number(new)?);
    Ok((old != 0.0).then(|| round((new - old) / old.abs() * 100.0, 2) + 0.0))
}

/// Half away from zero, as people do.
fn round(number: f64, decimals: i64) -> f64 {
    let scale = 10f64.powi(decimals.clamp(-15, 15) as i32);
    let rounded = (number * scale).round() / scale;
    if rounded.is_finite() { rounded } else { number }
}
