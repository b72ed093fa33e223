//! Numbers that two readers understand alike (RFC 8259 §6).

use serde_json::Value;

/// Beyond it, a number with a fraction stands for its neighbours too: 2⁵³.
pub const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Whether all numbers in a value are as they were written. Whole numbers are up to 64 bits, with or without a sign;
/// longer ones have become the nearest fraction, and two ids that differ would be one.
pub fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(n) if n.is_f64() => n.as_f64().is_some_and(|n| n.abs() < EXACT_MAX),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(entries) => entries.values().all(is_exact),
    }
}

/// Bytes of one thing, where many such things are kept: 4 GiB at most are told.
pub fn capped(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_64_bits_are_exact_and_longer_ones_are_not() {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for text in ["18446744073709551615", "-9223372036854775808", "9007199254740993", "1.5", "[{\"a\":7}]", "\"x\""]
        {
            assert!(is_exact(&parsed(text)), "{text}");
        }
        for text in ["18446744073709551616", "-9223372036854775809", "1e300", "[{\"a\":18446744073709551616}]"] {
            assert!(!is_exact(&parsed(text)), "{text}");
        }
    }
}
