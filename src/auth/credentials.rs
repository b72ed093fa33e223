//! Where a token is found in a request or a message.

use crate::model::{Problem, did_you_mean, percent_decode_lossy};
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// What a client shows: the upgrade's query and headers, or a message's token and what it says of itself.
/// Prints without values.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The raw query, without its `?`.
    pub query: &'a str,
    pub headers: Option<&'a HeaderMap>,
    /// A token that came in a message.
    pub message: Option<&'a str>,
    /// Who the client says that it is, in a message.
    pub claims: Option<&'a Map<String, Value>>,
}

impl<'a> Credentials<'a> {
    /// Of an HTTP request.
    pub fn of_request(query: Option<&'a str>, headers: &'a HeaderMap) -> Credentials<'a> {
        Credentials { query: query.unwrap_or_default(), headers: Some(headers), ..Credentials::default() }
    }

    /// Of a message on an open connection.
    pub fn of_message(token: &'a str) -> Credentials<'a> {
        Credentials { message: Some(token), ..Credentials::default() }
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

/// One place that a token may be in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Query(String),
    Bearer,
    Cookie(String),
    Header(HeaderName),
    /// `Sec-WebSocket-Protocol: NAME, TOKEN`: browsers can set no other header of an upgrade. `alone`: an offer of one
    /// protocol, that is not `name`, is the token itself.
    Subprotocol {
        name: String,
        alone: bool,
    },
    Message,
}

/// The name before a token among sub-protocols, where settings say none.
const SUBPROTOCOL: &str = "bearer";

impl Source {
    /// Reads `query:token`, `bearer`, `cookie:token`, `header:x-token`, `subprotocol` or `message`; `path` is for the
    /// problem.
    pub fn parse(text: &str, path: String) -> Result<Source, Problem> {
        const KINDS: &str =
            "`query:NAME`, `bearer`, `cookie:NAME`, `header:NAME`, `subprotocol`, `subprotocol:NAME` or `message`";
        let name = |n: &str| (!n.is_empty()).then(|| n.to_string());
        let source = match text.split_once(':') {
            None if text == "bearer" => Some(Source::Bearer),
            None if text == "message" => Some(Source::Message),
            None if text == "subprotocol" => Some(Source::Subprotocol { name: SUBPROTOCOL.into(), alone: false }),
            Some(("query", n)) => name(n).map(Source::Query),
            Some(("cookie", n)) => name(n).map(Source::Cookie),
            Some(("header", n)) => HeaderName::from_bytes(n.as_bytes()).ok().map(|name| match name {
                SEC_WEBSOCKET_PROTOCOL => Source::Subprotocol { name: SUBPROTOCOL.into(), alone: true },
                name => Source::Header(name),
            }),
            Some(("subprotocol", n)) => {
                // RFC 6455 §4.1: an HTTP token, as header names are.
                let name = HeaderName::from_bytes(n.as_bytes()).is_ok().then(|| n.to_string());
                name.map(|name| Source::Subprotocol { name, alone: false })
            }
            _ => None,
        };
        source.ok_or_else(|| {
            let kind = text.split(':').next().unwrap_or(text);
            const WORDS: [&str; 6] = ["query", "bearer", "cookie", "header", "subprotocol", "message"];
            let hint = did_you_mean(kind, WORDS).filter(|_| !WORDS.contains(&kind));
            Problem::new(path, format!("unknown place of a token `{text}`")).expected(KINDS).hint(hint)
        })
    }

    /// The token there, if it is not empty.
    fn find<'c>(&self, from: &Credentials<'c>) -> Option<Cow<'c, str>> {
        let header = |name: &HeaderName| from.headers?.get(name)?.to_str().ok();
        let token = match self {
            Source::Query(name) => query(from.query, name)?,
            Source::Bearer => Cow::Borrowed(bearer(header(&AUTHORIZATION)?)?),
            Source::Cookie(name) => percent_decode_lossy(cookie(from.headers?, name)?),
            Source::Header(name) => Cow::Borrowed(header(name)?.trim()),
            Source::Subprotocol { name, alone } => Cow::Borrowed(offered(from.headers?, name, *alone)?.1),
            Source::Message => Cow::Borrowed(from.message?),
        };
        (!token.is_empty()).then_some(token)
    }
}

/// Of the sub-protocols offered, the one to be answered and the token.
fn offered<'h>(headers: &'h HeaderMap, name: &str, alone: bool) -> Option<(&'h str, &'h str)> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let offers: Vec<&str> = offers.flat_map(|v| v.split(',')).map(str::trim).filter(|o| !o.is_empty()).collect();
    match offers.iter().position(|offer| offer.eq_ignore_ascii_case(name)) {
        Some(at) => Some((offers[at], *offers.get(at + 1)?)),
        // A browser ends a handshake that answers with none of its offers, and there is no other.
        None => offers.first().filter(|_| alone && offers.len() == 1).map(|one| (*one, *one)),
    }
}

/// What a source reads is a secret: rules and handlers do not get it, and nothing logs it.
impl Source {
    /// The sub-protocol to answer to these headers, where the token is among them.
    pub fn subprotocol<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        match self {
            Source::Subprotocol { name, alone } => offered(headers, name, *alone).map(|(protocol, _)| protocol),
            Source::Query(_) | Source::Bearer | Source::Cookie(_) | Source::Header(_) | Source::Message => None,
        }
    }

    pub fn is_in_query(&self, parameter: &str) -> bool {
        matches!(self, Source::Query(name) if name == parameter)
    }

    pub fn is_in_header(&self, header: &HeaderName) -> bool {
        match self {
            Source::Bearer => header == AUTHORIZATION,
            Source::Cookie(_) => header == COOKIE,
            Source::Header(name) => header == name,
            Source::Subprotocol { .. } => header == SEC_WEBSOCKET_PROTOCOL,
            Source::Query(_) | Source::Message => false,
        }
    }
}

/// The first token in the order of `sources`.
pub(super) fn token<'c>(sources: &[Source], from: &Credentials<'c>) -> Option<Cow<'c, str>> {
    sources.iter().find_map(|s| s.find(from))
}

/// The first value of `name` that is not empty, percent-decoded. A `+` stays: tokens have it, and never a space. What is
/// no UTF-8 becomes U+FFFD, which no token has.
fn query<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!value.is_empty() && percent_decode_lossy(key) == name).then(|| percent_decode_lossy(value))
    })
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// RFC 6265 §5.4: pairs between `;`; a value may stand in quotes. Of several of one name, as a browser sends them for
/// different paths, the first that is not empty.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        (key == name && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    fn sources(list: &[&str]) -> Vec<Source> {
        list.iter().map(|s| Source::parse(s, String::new()).unwrap()).collect()
    }

    #[test]
    fn the_first_place_in_order_counts_and_empty_is_absent() {
        let order = sources(&["query:token", "bearer", "cookie:token", "header:x-token", "message"]);
        let all = headers(&[("authorization", "bearer  b"), ("cookie", "a=1; token=\"c%3D\""), ("x-token", "h")]);
        let mut from =
            Credentials { query: "x=1&token=q", headers: Some(&all), message: Some("m"), ..Credentials::default() };
        assert_eq!(token(&order, &from).as_deref(), Some("q"));
        from.query = "token=&x=1";
        assert_eq!(token(&order, &from).as_deref(), Some("b"));
        assert_eq!(token(&order[2..], &from).as_deref(), Some("c="));
        assert_eq!(token(&order[3..], &from).as_deref(), Some("h"));
        assert_eq!(token(&order[4..], &from).as_deref(), Some("m"));
        assert_eq!(token(&order[..2], &Credentials::of_message("m")), None);
        let twice = headers(&[("cookie", "token=; token=\"\"; token=a; token=b")]);
        assert_eq!(token(&order[2..], &Credentials::of_request(None, &twice)).as_deref(), Some("a"), "empty is absent");
        let basic = headers(&[("authorization", "Basic YTpi")]);
        assert_eq!(token(&order, &Credentials::of_request(None, &basic)), None);
    }

    #[test]
    fn a_query_token_is_percent_decoded_and_the_first_of_two_wins() {
        let find = |q| token(&sources(&["query:token"]), &Credentials { query: q, ..Credentials::default() });
        assert_eq!(find("token=a%2Bb%3D%3d&token=second").as_deref(), Some("a+b=="));
        assert_eq!(find("%74oken=a+b/c==").as_deref(), Some("a+b/c=="));
        assert_eq!(find("token=%zz%2&x").as_deref(), Some("%zz%2"));
        assert_eq!(find("token=%ff").as_deref(), Some("\u{fffd}"));
        assert_eq!(find("tokens=a&Token=b"), None);
        assert_eq!(find("token=&token&token=a&token=b").as_deref(), Some("a"), "empty is absent");
    }

    #[test]
    fn a_token_among_sub_protocols_stands_behind_its_name() {
        let find = |source: &str, offer: &[&str]| {
            let list: Vec<_> = offer.iter().map(|o| ("sec-websocket-protocol", *o)).collect();
            let headers: HeaderMap = list.iter().fold(HeaderMap::new(), |mut all, (n, v)| {
                all.append(*n, v.parse().unwrap());
                all
            });
            let source = &sources(&[source])[0];
            let token = source.find(&Credentials::of_request(None, &headers)).map(|t| t.into_owned());
            let answer = source.subprotocol(&headers).map(str::to_owned);
            token.zip(answer)
        };
        let found = |token: &str, answer: &str| Some((token.to_owned(), answer.to_owned()));
        assert_eq!(find("subprotocol", &["bearer, a.b.c"]), found("a.b.c", "bearer"));
        assert_eq!(find("subprotocol", &["chat,Bearer ,a.b.c"]), found("a.b.c", "Bearer"));
        assert_eq!(find("subprotocol", &["bearer", "a.b.c"]), found("a.b.c", "bearer"));
        assert_eq!(find("subprotocol:jwt", &["jwt, a.b.c"]), found("a.b.c", "jwt"));
        for none in [&["bearer"][..], &["a.b.c"], &["chat, a.b.c"], &[""], &[]] {
            assert_eq!(find("subprotocol", none), None, "{none:?}");
        }
        assert_eq!(find("header:Sec-WebSocket-Protocol", &["bearer, a.b.c"]), found("a.b.c", "bearer"));
        assert_eq!(find("header:Sec-WebSocket-Protocol", &["a.b.c"]), found("a.b.c", "a.b.c"));
        assert_eq!(find("header:Sec-WebSocket-Protocol", &["bearer"]), None);
        assert_eq!(find("header:Sec-WebSocket-Protocol", &["chat, a.b.c"]), None);
    }

    #[test]
    fn a_wrong_place_is_told_with_what_was_meant() {
        let problem = Source::parse("qurey:token", "from[0]".into()).unwrap_err();
        assert_eq!(problem.what, "unknown place of a token `qurey:token`");
        assert_eq!(problem.hint.as_deref(), Some("did you mean `query`?"));
        for bad in ["query", "query:", "header:a b", "bearer:x", "subprotocol:", "subprotocol:a b", ""] {
            assert!(Source::parse(bad, String::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_print_without_values() {
        assert_eq!(format!("{:?}", Credentials::of_message("s3cret")), "Credentials([redacted])");
    }
}
