//! Quantities as people write them in files: `"30s"`, `"1MiB"`, `{ burst = 20, per = "1m" }`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// A duration: `"250ms"`, `"30s"`, `"10m"`, `"24h"`, `"7d"`; a bare whole number is milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Ms(pub u64);

/// A duration or `"off"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct MsOrOff(pub Option<u64>);

/// A size in bytes: `"512B"`, `"64KiB"`, `"1MiB"`, `"1GiB"`, `"1MB"`; a bare whole number is bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Size(pub u64);

/// A size or `"off"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct SizeOrOff(pub Option<u64>);

/// A size or `"auto"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct SizeOrAuto(pub Option<u64>);

/// A token bucket: `burst` at once, refilled evenly over `per`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema, Hash)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// In which time the bucket fills from empty.
    pub per: Ms,
}

const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// `number unit` with an optional space; the number may have a fraction (`"1.5s"`).
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))?;
    let (number, unit) = (text[..at].replace('_', ""), text[at..].trim_start());
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    if number.contains('.') {
        let value = number.parse::<f64>().ok()? * *scale as f64;
        return (value.is_finite() && (0.0..9e15).contains(&value)).then_some(value.round() as u64);
    }
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

impl Ms {
    pub fn parse(text: &str) -> Option<Ms> {
        quantity(text, TIMES).map(Ms)
    }
    pub const fn secs(n: u64) -> Ms {
        Ms(n * 1000)
    }
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl Size {
    pub fn parse(text: &str) -> Option<Size> {
        quantity(text, SIZES).map(Size)
    }
}

struct Quantity {
    units: &'static [(&'static str, u64)],
    expected: &'static str,
    /// The word that stands for no quantity.
    word: Option<&'static str>,
}

impl Visitor<'_> for Quantity {
    type Value = Option<u64>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<Option<u64>, E> {
        if self.word == Some(v) {
            return Ok(None);
        }
        quantity(v, self.units).map(Some).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(v), &self))
    }
    fn visit_u64<E: Error>(self, v: u64) -> Result<Option<u64>, E> {
        Ok(Some(v))
    }
    fn visit_i64<E: Error>(self, v: i64) -> Result<Option<u64>, E> {
        u64::try_from(v).map(Some).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(v), &self))
    }
}

macro_rules! quantities {
    ($($type:ident, $units:ident, $word:expr, $expected:literal, $pattern:literal, |$v:ident| $make:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let $v = d.deserialize_any(Quantity { units: $units, expected: $expected, word: $word })?;
                Ok($make)
            }
        }
        impl JsonSchema for $type {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($type).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "anyOf": [{ "type": "string", "pattern": $pattern }, { "type": "integer", "minimum": 0 }], "description": $expected })
            }
        }
    )*};
}

quantities! {
    Ms, TIMES, None, "a duration such as \"30s\" (ms, s, m, h, d)", "^[0-9][0-9._]* ?(ms|s|m|h|d)$", |v| Ms(v.unwrap_or(0));
    MsOrOff, TIMES, Some("off"), "a duration such as \"30s\" (ms, s, m, h, d) or \"off\"", "^([0-9][0-9._]* ?(ms|s|m|h|d)|off)$", |v| MsOrOff(v);
    Size, SIZES, None, "a size such as \"64KiB\" (B, KiB, MiB, GiB)", "^[0-9][0-9._]* ?(B|KiB|MiB|GiB|KB|MB|GB)$", |v| Size(v.unwrap_or(0));
    SizeOrOff, SIZES, Some("off"), "a size such as \"64KiB\" (B, KiB, MiB, GiB) or \"off\"", "^([0-9][0-9._]* ?(B|KiB|MiB|GiB|KB|MB|GB)|off)$", |v| SizeOrOff(v);
    SizeOrAuto, SIZES, Some("auto"), "a size such as \"64KiB\" (B, KiB, MiB, GiB) or \"auto\"", "^([0-9][0-9._]* ?(B|KiB|MiB|GiB|KB|MB|GB)|auto)$", |v| SizeOrAuto(v);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("1.5s", 1_500),
            ("10 m", 600_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(Ms::parse(text), Some(Ms(ms)), "{text}");
        }
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1MB", 1_000_000)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1 week", "99999999999999999999s", "1e3s"] {
            assert_eq!(Ms::parse(bad), None, "{bad}");
        }
        assert_eq!(serde_json::from_str::<MsOrOff>("\"off\"").unwrap(), MsOrOff(None));
        assert_eq!(serde_json::from_str::<Ms>("30000").unwrap(), Ms(30_000));
        let error = serde_json::from_str::<Size>("\"1 week\"").unwrap_err().to_string();
        assert!(error.contains("a size such as"), "{error}");
    }
}
