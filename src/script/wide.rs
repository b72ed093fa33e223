//! Whole numbers that need all of 64 bits: Rhai's own have a sign, and as fractions they would be rounded.
//! Scripts compare them, show them and send them on; they do not calculate with them.

use rhai::{FuncRegistration, INT, Module};

/// Above `i64::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Wide(pub u64);

/// Digits that a whole number of 64 bits always has room for, and one: 9223372036854775808 has so many.
const DIGITS: usize = 19;

pub(super) fn register(module: &mut Module) {
    module.set_custom_type::<Wide>("int of 64 bits");
    // Whatever has a sign is smaller.
    macro_rules! compare {
        ($($op:literal $wide:expr, $small:literal, $large:literal;)*) => {$(
            FuncRegistration::new($op).set_into_module(module, |a: Wide, b: Wide| $wide(&a, &b));
            FuncRegistration::new($op).set_into_module(module, |_: INT, _: Wide| $small);
            FuncRegistration::new($op).set_into_module(module, |_: Wide, _: INT| $large);
        )*};
    }
    compare! {
        "==" Wide::eq, false, false;
        "!=" Wide::ne, true, true;
        "<" Wide::lt, true, false;
        "<=" Wide::le, true, false;
        ">" Wide::gt, false, true;
        ">=" Wide::ge, false, true;
    }
    for name in ["to_string", "to_debug"] {
        FuncRegistration::new(name).set_into_module(module, |n: &mut Wide| n.0.to_string());
    }
}

/// Whether JSON text has a whole number that 64 bits do not hold: its reader would round it without a word.
///
/// Every message of a handler comes by here. Such a number has nineteen digits or more: looking at each nineteenth byte
/// finds them all, and nearly every text ends there.
pub(super) fn has_longer(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = DIGITS - 1;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            let start = bytes[..at].iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |before| before + 1);
            let end = bytes[at..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |after| at + after);
            if end - start >= DIGITS && numbers(json).any(is_longer) {
                return true;
            }
            at = end;
        }
        at += DIGITS;
    }
    false
}

fn is_longer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E']) && number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
}

/// The numbers of a JSON text, as they are written.
fn numbers(json: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let outside = json.split(move |c: char| {
        match (quoted, c) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => quoted = !quoted,
            (false, '0'..='9' | '-' | '+' | '.' | 'e' | 'E') => return false,
            _ => {}
        }
        true
    });
    outside.filter(|part| part.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::values;
    use super::*;

    #[test]
    fn a_number_of_more_than_64_bits_is_found_wherever_it_stands() {
        for json in [
            "18446744073709551616",
            "-9223372036854775809",
            r#"{"a":"x","b":[1,{"c":123456789012345678901234567890}]}"#,
            r#"{"a":"\"","b":18446744073709551616 }"#,
        ] {
            assert!(has_longer(json), "{json}");
            assert!(has_longer(&format!("{}{json}", " ".repeat(13))), "{json}");
        }
        for json in [
            "18446744073709551615",
            "-9223372036854775808",
            "123456789012345678901234567890.5",
            "1234567890123456789012e3",
            r#"{"123456789012345678901234567890":"18446744073709551616, 18446744073709551616"}"#,
            r#""a\":123456789012345678901234567890,""#,
            "",
        ] {
            assert!(!has_longer(json), "{json}");
        }
    }

    #[test]
    fn what_comes_in_goes_out_as_it_was() {
        for json in ["9223372036854775808", "18446744073709551615", r#"[1,{"a":18446744073709551614}]"#] {
            let value = values::parse(json.as_bytes()).unwrap();
            assert_eq!(values::text(&value).unwrap(), json);
        }
        let told = values::parse(b"18446744073709551616").unwrap_err().to_string();
        assert!(told.contains("more than 64 bits"), "{told}");
    }

    #[test]
    fn scripts_compare_and_show_them() {
        let engine = crate::script::engine::engine(&crate::script::Limits::default());
        let mut scope = rhai::Scope::new();
        scope
            .push("max", Wide(u64::MAX))
            .push("less", Wide(u64::MAX - 1))
            .push("list", vec![rhai::Dynamic::from(Wide(u64::MAX))]);
        for text in [
            "max == max && max != less && max > less && less <= max && !(less == max)",
            "max > 5 && 5 < max && max != 5 && !(max == 5)",
            "max in list && !(less in list)",
            r#"`${max}` == "18446744073709551615" && max.to_string() == `${max}`"#,
        ] {
            assert_eq!(engine.eval_expression_with_scope::<bool>(&mut scope, text).ok(), Some(true), "{text}");
        }
        assert!(engine.eval_expression_with_scope::<rhai::Dynamic>(&mut scope, "max + 1").is_err());
    }
}
