//! Percent-encoding, query strings and lists in headers, as requests carry them.

use std::borrow::Cow;

/// Query parameters that are looked at; a client that sends more is not one of ours.
const PAIRS_MAX: usize = 128;

/// `%41` → `A` (RFC 3986 §2.1). `None`: a broken escape, or not UTF-8.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    decode(text, false)
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

/// The decoded pairs of a query, `+` as a space; a pair that does not decode is left out.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, true)?, decode(value, true)?))
    })
}

/// The elements of all of a header's comma-separated lines, trimmed; lines that are not text are left out.
pub fn list<'h>(headers: &'h hyper::HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.into_iter().flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_refused() {
        assert_eq!(percent_decode("a%20b+c").as_deref(), Some("a b+c"));
        assert_eq!(percent_decode("%C3%A9").as_deref(), Some("é"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_query_is_read_as_browsers_write_it() {
        let pairs: Vec<_> = query_pairs("EIO=4&a=b+c%2B&&flag&bad=%zz").collect();
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        assert_eq!(pairs, [("EIO", "4"), ("a", "b c+"), ("flag", "")]);
    }
}
