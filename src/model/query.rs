//! Query strings and escaped paths, as requests carry them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// Parameters of a query that are looked at; a client that sends more is not one of ours.
const PAIRS_MAX: usize = 128;

/// `%41` → `A` (RFC 3986 §2.1). `None`: a broken escape, or not UTF-8.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    decode(text, false)
}

/// The same, but a broken escape stays as written, and what is no UTF-8 becomes U+FFFD.
pub fn percent_decode_lossy(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// `é b` → `%C3%A9%20b`: all but unreserved characters are escaped (RFC 3986 §2.3).
pub fn percent_encode(text: &str) -> Cow<'_, str> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).into()
}

/// The decoded pairs of a query, `+` as a space; a pair that does not decode is left out.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, true)?, decode(value, true)?))
    })
}

/// The first pair that does not decode, which `query_pairs` leaves out; or what is beyond its bound.
pub fn query_fault(query: &str) -> Option<&str> {
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    let broken = |pair: &&str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(name, true).is_none() || decode(value, true).is_none()
    };
    pairs.by_ref().take(PAIRS_MAX).find(broken).or_else(|| pairs.next())
}

/// One way of writing each path, for files and requests alike: letters of other scripts as they are, every other escape
/// as it was sent, in upper case. `/gr%c3%b6%C3%9fe%2f` is `/größe%2F`. An escaped slash stays apart from a slash.
/// What is not UTF-8 stays as it was sent.
pub fn canonical_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::with_capacity(path.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digit = |i: usize| bytes.get(at + i).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                match (high << 4 | low) as u8 {
                    letter @ 0x80.. => out.push(letter),
                    _ => out.extend(bytes[at..at + 3].iter().map(u8::to_ascii_uppercase)),
                }
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(path), Cow::Owned)
}

fn decode(text: &str, form: bool) -> Option<Cow<'_, str>> {
    let is_escape = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    match text.contains('+') && form {
        true => Some(decode(&text.replace('+', " "), false)?.into_owned().into()),
        false => percent_decode_str(text).decode_utf8().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_are_not() {
        assert_eq!(percent_decode("clinic%3Ac1+x").as_deref(), Some("clinic:c1+x"));
        for bad in ["%", "%4", "%zz", "%ff", "%%41", "a%+1", "%4é"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
        assert_eq!(percent_decode_lossy("%41%zz%%42%ff+%"), "A%zz%B\u{fffd}+%");
        assert_eq!(percent_encode("é b/.-_~"), "%C3%A9%20b%2F.-_~");
        let pairs: Vec<_> = query_pairs("channel=a%3Ab&x=1+2&bad=%zz&&flag").map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(pairs, ["channel=a:b", "x=1 2", "flag="]);
    }

    #[test]
    fn a_path_has_one_way_of_writing() {
        for (sent, one) in [
            ("/plain", "/plain"),
            ("/größe", "/größe"),
            ("/gr%c3%b6%C3%9fe", "/größe"),
            ("/a%2fb%2Fc%20d", "/a%2Fb%2Fc%20d"),
            ("/%41", "/%41"),
            ("/%ff%2f", "/%ff%2f"),
            ("/%", "/%"),
            ("/%e4%", "/%e4%"),
            ("/%C3", "/%C3"),
        ] {
            assert_eq!(canonical_path(sent), one, "{sent}");
        }
    }

    #[test]
    fn what_does_not_decode_is_told() {
        assert_eq!(query_fault("a=1&b=%ff&c=%zz"), Some("b=%ff"));
        assert_eq!((query_fault("a=1&&b"), query_fault("")), (None, None));
        assert_eq!(query_fault(&"a=1&".repeat(PAIRS_MAX + 1)), Some("a=1"));
    }
}
