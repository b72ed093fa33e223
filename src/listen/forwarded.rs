//! Whose request it is, behind proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use hyper::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED: &str = "forwarded";
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
    /// (`unknown`, `_hidden`) ends the walk at the proxy that wrote it.
    ///
    /// Proxies write `Forwarded` or `X-Forwarded-For`, and many pass on the other one as the client sent it. Which of
    /// them they write nobody can see; so where both are there and name different clients, neither is believed, and the
    /// request counts as the proxy's own: who forges one shares its bounds with others who do.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let said = |name| headers.contains_key(name).then(|| self.walk(peer, headers, name));
        match (said(FORWARDED), said("x-forwarded-for")) {
            (Some(one), Some(other)) if one != other => peer,
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
            let Some(ip) = node.and_then(address) else { break };
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
            ("10.0.0.1", vec![(xff, "9.9.9.9, garbage")], "10.0.0.1"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4;proto=https, for=10.0.0.7")], "1.2.3.4"),
            ("10.0.0.1", vec![("forwarded", "For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17"),
            ("10.0.0.1", vec![("forwarded", "for=\"[2001:db8::1]\"")], "2001:db8::1"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4, for=unknown")], "10.0.0.1"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4"), (xff, "1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1", vec![("forwarded", "for=1.2.3.4"), (xff, "5.6.7.8")], "10.0.0.1"), // one of them is forged
            ("10.0.0.1", vec![("forwarded", "proto=https"), (xff, "5.6.7.8")], "10.0.0.1"),
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
