//! What permessage-deflate two sides agree on. RFC 7692 §5 and §7.1.

/// What was agreed for one connection; both `no_context_takeover` parameters always were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeflateParams {
    /// Base-2 logarithm of the window that we compress with, 9–15: handed to `Deflater::deflate`.
    pub server_bits: u8,
    /// The same of the client. Inflating takes the largest window whatever it is.
    pub client_bits: u8,
}

/// Takes the first acceptable offer of permessage-deflate.
///
/// In: the values of the request's `Sec-WebSocket-Extensions` headers, in order; each may list several offers.
/// Out: the parameters, and the value of the reply's header. `None`: the connection goes without compression.
/// An offer with an unknown, repeated or malformed parameter is passed over (§7.1), and so is a window of
/// 8 bits: zlib makes none that small.
pub fn negotiate<'o>(offers: impl Iterator<Item = &'o str>) -> Option<(DeflateParams, String)> {
    offers.flat_map(|value| unquoted(value, ',')).find_map(accept)
}

fn accept(offer: &str) -> Option<(DeflateParams, String)> {
    let mut parts = unquoted(offer, ';').map(str::trim);
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let (mut server_takeover, mut client_takeover, mut server, mut client) = (None, None, None, None);
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquote(value.trim_start()))),
            None => (part, None),
        };
        let seen_before = match (name, value) {
            ("server_no_context_takeover", None) => server_takeover.replace(()).is_some(),
            ("client_no_context_takeover", None) => client_takeover.replace(()).is_some(),
            ("server_max_window_bits", Some(value)) => server.replace(bits(value)?).is_some(),
            // Without a value it only says that the client would obey one (§7.1.2.2).
            ("client_max_window_bits", value) => client.replace(value.map_or(Some(15), bits)?).is_some(),
            _ => return None,
        };
        if seen_before {
            return None;
        }
    }
    let mut reply = String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if let Some(bits) = server {
        reply += &format!("; server_max_window_bits={bits}");
    }
    if let Some(bits) = client.filter(|&bits| bits < 15) {
        reply += &format!("; client_max_window_bits={bits}");
    }
    Some((DeflateParams { server_bits: server.unwrap_or(15), client_bits: client.unwrap_or(15) }, reply))
}

/// §7.1.2.1: a decimal without leading zeros.
fn bits(value: &str) -> Option<u8> {
    (9..=15).find(|bits: &u8| bits.to_string() == value)
}

/// Parts between separators that stand outside of quoted strings.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// RFC 6455 §9.1 lets a value stand in quotes.
fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn offers_are_taken_in_their_order() {
        for (offers, server, client, extra) in [
            (&["permessage-deflate"][..], 15, 15, ""),
            (&["permessage-deflate; client_max_window_bits"], 15, 15, ""), // browsers
            (&["permessage-deflate;client_max_window_bits=15"], 15, 15, ""),
            (&["permessage-deflate; client_max_window_bits=10"], 15, 10, "; client_max_window_bits=10"),
            (&["permessage-deflate; server_max_window_bits=9"], 9, 15, "; server_max_window_bits=9"),
            (&["permessage-deflate; server_max_window_bits = \"12\""], 12, 15, "; server_max_window_bits=12"),
            (&["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], 15, 15, ""),
            (
                &["x-webkit-deflate-frame", "permessage-deflate; server_max_window_bits=8, permessage-deflate"],
                15,
                15,
                "",
            ),
            (&["foo; bar=\"x, permessage-deflate; no\", permessage-deflate"], 15, 15, ""),
            (
                &["permessage-deflate; server_max_window_bits=10; client_max_window_bits=11", "permessage-deflate"],
                10,
                11,
                "; server_max_window_bits=10; client_max_window_bits=11",
            ),
        ] {
            let (params, reply) = negotiate(offers.iter().copied()).expect(offers[0]);
            assert_eq!(params, DeflateParams { server_bits: server, client_bits: client }, "{offers:?}");
            assert_eq!(reply, format!("{BASE}{extra}"), "{offers:?}");
        }
    }

    #[test]
    fn offers_that_cannot_be_kept_are_refused() {
        for offer in [
            "",
            "x-webkit-deflate-frame",
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=x",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate;",
        ] {
            assert_eq!(negotiate([offer].into_iter()), None, "{offer}");
        }
    }
}
