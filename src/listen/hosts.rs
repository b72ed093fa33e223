//! Which `Host` a request may name in development mode.
//!
//! A page of the web can have its own name point to 127.0.0.1 after it was loaded (DNS rebinding). The browser then
//! takes the gateway on the developer's machine for that page's own server: no `Origin`, no preflight, and the page reads
//! the answers. The only trace is the name in `Host`. In development mode, where secrets are published and nobody needs
//! a key, a name that is not this machine's is refused.

use crate::model::{canonical_host, is_loopback_host};
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri};

/// Names beside loopback's: those of endpoints and of `http.hosts`.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

/// What a request says of its host.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Nothing, as HTTP/1.0 may.
    Nothing,
    /// Lower case, without port and without the dot of an absolute name.
    Host(String),
    /// What no host is (RFC 9112 §3.2).
    Malformed,
}

impl Asked {
    /// The request line's goes before the header's (RFC 9112 §3.2.2).
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Asked {
        let text = match (uri.authority(), headers.get(HOST)) {
            (Some(authority), _) => Ok(authority.as_str()),
            (None, None) => return Asked::Nothing,
            (None, Some(header)) => header.to_str(),
        };
        let authority = match text {
            Ok("") => return Asked::Nothing,
            Ok(text) => text.parse::<Authority>().ok().filter(|_| !text.contains('@')),
            Err(_) => None,
        };
        let Some(authority) = authority else { return Asked::Malformed };
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').map(str::to_owned).unwrap_or(host);
        if host.is_empty() { Asked::Malformed } else { Asked::Host(host) }
    }

    pub fn host(&self) -> Option<&str> {
        match self {
            Asked::Host(host) => Some(host),
            Asked::Nothing | Asked::Malformed => None,
        }
    }
}

impl Hosts {
    /// Names as files have them: `a.example`, `*.example`. What is none is left out.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Hosts {
        Hosts(names.filter_map(canonical_host).collect())
    }

    /// Whether development mode answers to this name. A name without a dot is no name that the web's DNS has, and
    /// containers call each other so.
    pub fn allows(&self, host: &str) -> bool {
        let named = |ours: &String| match ours.strip_prefix('*') {
            Some(below) => host.len() > below.len() && host.ends_with(below),
            None => ours == host,
        };
        let plain = !host.contains(['.', ':', '[']);
        plain || is_loopback_host(host) || self.0.iter().any(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, host: Option<&str>) -> Asked {
        let mut headers = HeaderMap::new();
        headers.extend(host.map(|host| (HOST, host.parse().unwrap())));
        Asked::of(&target.parse().unwrap(), &headers)
    }

    #[test]
    fn a_host_is_a_name_without_its_port_and_its_last_dot() {
        let host = |text: &str| Asked::Host(text.into());
        assert_eq!(asked("/", Some("GW.example.:3000")), host("gw.example"));
        assert_eq!(asked("/", Some("[::1]:80")), host("[::1]"));
        assert_eq!(asked("http://first.example/", Some("second.example")), host("first.example"));
        assert_eq!((asked("/", None), asked("/", Some(""))), (Asked::Nothing, Asked::Nothing));
        for bad in ["a b", "user@gw.example", "a/b", ".", "[::1"] {
            assert_eq!(asked("/", Some(bad)), Asked::Malformed, "{bad}");
        }
    }

    #[test]
    fn a_name_that_was_rebound_is_not_this_machine_s() {
        let hosts = Hosts::new(["gw.test", "*.clinic.test"].into_iter());
        for (host, allowed) in [
            ("localhost", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("[::1]", true),
            ("weir", true),
            ("gw.test", true),
            ("a.clinic.test", true),
            ("clinic.test", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("0.0.0.0", false),
            ("192.0.2.1", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!(hosts.allows(host), allowed, "{host}");
        }
    }
}
