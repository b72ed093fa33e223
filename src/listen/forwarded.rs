//! Whose request it is, behind proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Of a client whose proxy does not tell who it is. All of them share the bounds of one address; no client has it, and it
/// is not loopback.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const FORWARDED: &str = "forwarded";
const USUAL: &str = "x-forwarded-for";
/// Elements that are looked at, from the right; a longer chain is not one of proxies.
const HOPS_MAX: usize = 32;

/// Addresses and networks whose word on the client's address is believed.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<IpNet>);

impl Trusted {
    /// Reads `"10.0.0.0/8"` and `"192.0.2.1"`; the error is the index of the first that is neither.
    pub fn parse(texts: &[String]) -> Result<Trusted, usize> {
        let read = |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        texts.iter().enumerate().map(|(i, text)| read(text.trim()).ok_or(i)).collect::<Result<_, _>>().map(Trusted)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&ip.to_canonical()))
    }

    /// The client's address: from the right, the first that is not a trusted proxy's. An element that is no address
    /// (`unknown`, `_hidden`) ends the walk: then it is not known, `UNKNOWN`.
    ///
    /// Proxies write `Forwarded` or `X-Forwarded-For`, and many pass on the other one as the client sent it. Which of
    /// them they write nobody can see; so where both are there and name different clients, neither is believed. Nor is
    /// the proxy's own address taken: it may be one that bounds or rules let pass, such as loopback.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let names_clients =
            |line: &HeaderValue| line.to_str().is_ok_and(|line| line.split(',').any(|e| node_of(e).is_some()));
        let standard = headers.get_all(FORWARDED).iter().any(names_clients);
        let said = |name| self.walk(peer, headers, name);
        let (standard, usual) = (standard.then(|| said(FORWARDED)), headers.contains_key(USUAL).then(|| said(USUAL)));
        match (standard, usual) {
            (Some(one), Some(other)) if one != other => UNKNOWN,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    fn walk(&self, peer: IpAddr, headers: &HeaderMap, name: &'static str) -> IpAddr {
        let (standard, lines) = (name == FORWARDED, headers.get_all(name));
        let mut client = peer;
        let elements = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("").rsplit(','));
        for element in elements.take(HOPS_MAX) {
            let node = if standard { node_of(element) } else { Some(element.trim()) };
            let Some(ip) = node.and_then(address) else { return UNKNOWN };
            client = ip;
            if !self.contains(ip) {
                break;
            }
        }
        client
    }
}

/// Whether a proxy says that it passed this request on.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    const OTHERS: [&str; 8] = [
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
        "x-original-forwarded-for",
    ];
    headers.keys().any(|name| name.as_str().starts_with("x-forwarded-") || OTHERS.contains(&name.as_str()))
}

/// The `for` of an element: `for="[2001:db8::1]:80";proto=https`.
fn node_of(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(node: &str) -> Option<IpAddr> {
    let bare = || node.parse::<IpAddr>().ok();
    let port = || node.parse::<SocketAddr>().ok().map(|a| a.ip());
    let brackets = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(port).or_else(brackets).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = Trusted::parse(&["10.0.0.0/8".into(), "2001:db8:1::/48".into(), "127.0.0.1".into()]).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        trusted.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        let xff = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("203.0.113.9", vec![], "203.0.113.9"),
            ("203.0.113.9", vec![(xff, "1.2.3.4")], "203.0.113.9"), // nobody believes a stranger
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec![(xff, "1.2.3.4")], "1.2.3.4"),
            ("::ffff:10.0.0.1", vec![(xff, "1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1", vec![(xff, "6.6.6.6, 1.2.3.4, 10.9.9.9")], "1.2.3.4"), // 6.6.6.6 is the client's invention
            ("10.0.0.1", vec![(xff, "6.6.6.6"), (xff, "1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1", vec![(xff, "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
            ("10.0.0.1", vec![(xff, "1.2.3.4:5678")], "1.2.3.4"),
            ("10.0.0.1", vec![(xff, "9.9.9.9, garbage")], "0.0.0.0"),
            ("127.0.0.1", vec![(xff, "")], "0.0.0.0"),
            ("127.0.0.1", vec![(xff, "1.2.3.4"), ("forwarded", "for=9.9.9.9")], "0.0.0.0"),
            ("127.0.0.1", vec![(xff, "1.2.3.4"), ("forwarded", "for=unknown")], "0.0.0.0"),
            ("127.0.0.1", vec![(xff, "1.2.3.4"), ("forwarded", "")], "1.2.3.4"),
            ("127.0.0.1", vec![], "127.0.0.1"), // its own: a look at its health
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4;proto=https, for=10.0.0.7")], "1.2.3.4"),
            ("10.0.0.1", vec![("forwarded", "For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17"),
            ("10.0.0.1", vec![("forwarded", "for=\"[2001:db8::1]\"")], "2001:db8::1"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4, for=unknown")], "0.0.0.0"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4"), (xff, "1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4"), (xff, "5.6.7.8")], "0.0.0.0"), // one of them is forged
            ("10.0.0.1", vec![("forwarded", "proto=https"), (xff, "5.6.7.8")], "5.6.7.8"),
        ] {
            assert_eq!(client(peer, &headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn proxies_are_known_by_what_they_add() {
        for (name, is) in [("via", true), ("x-real-ip", true), ("x-forwarded-host", true), ("x-request-id", false)] {
            let headers = HeaderMap::from_iter([(hyper::header::HeaderName::from_static(name), "1".parse().unwrap())]);
            assert_eq!(is_forwarded(&headers), is, "{name}");
        }
    }

    #[test]
    fn what_is_no_network_is_pointed_at() {
        assert_eq!(Trusted::parse(&["10.0.0.0/8".into(), "loadbalancer".into()]).err(), Some(1));
    }
}
