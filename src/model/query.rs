//! Query strings and escaped paths, as requests carry them.

use std::borrow::Cow;

/// Parameters of a query that are looked at; a client that sends more is not one of ours.
const PAIRS_MAX: usize = 128;

/// `%41` → `A` (RFC 3986 §2.1). `None`: a broken escape, or not UTF-8.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    decode(text, false)
}

/// The decoded pairs of a query, `+` as a space; a pair that does not decode is left out.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, true)?, decode(value, true)?))
    })
}

fn decode(text: &str, form: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || form && b == b'+') {
        return Some(Cow::Borrowed(text));
    }
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
                (high << 4 | low) as u8
            }
            b'+' if form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_are_not() {
        assert_eq!(percent_decode("clinic%3Ac1+x").as_deref(), Some("clinic:c1+x"));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
        let pairs: Vec<_> = query_pairs("channel=a%3Ab&x=1+2&bad=%zz&&flag").map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(pairs, ["channel=a:b", "x=1 2", "flag="]);
    }
}
