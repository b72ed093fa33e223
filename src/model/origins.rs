//! Which pages may open connections and call the HTTP API: the `Origin` of a request (RFC 6455 §10.2, RFC 6454).

use super::Problem;
use std::borrow::Cow;
use std::net::IpAddr;

/// Origins that are allowed: `"*"`, `"https://app.example"`, `"https://*.example"`, `"null"`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    any: bool,
    list: Vec<Origin>,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    Exact(String),
    /// `https://` and `.example`: any subdomain, the port as written.
    Below(String, String),
}

impl Origins {
    /// The error is the index of the first text that is no origin.
    pub fn parse(texts: &[String]) -> Result<Origins, usize> {
        let any = texts.iter().any(|text| text == "*");
        let list = texts.iter().enumerate().filter(|(_, text)| *text != "*");
        let list = list.map(|(i, text)| Origin::parse(text).ok_or(i)).collect::<Result<_, _>>()?;
        Ok(Origins { any, list })
    }

    /// The same, with the problem at `path`.
    pub fn compile(texts: &[String], path: &str) -> Result<Origins, Problem> {
        Origins::parse(texts).map_err(|i| {
            Problem::new(format!("{path}[{i}]"), format!("`{}` is no origin", texts[i]))
                .expected("`*`, `https://app.example` or `https://*.example`")
        })
    }

    /// Whether every origin is allowed.
    pub fn any(&self) -> bool {
        self.any
    }

    pub fn allows(&self, origin: &str) -> bool {
        self.any || self.lists(origin)
    }

    /// Whether it is named, not only one of all.
    pub fn lists(&self, origin: &str) -> bool {
        let origin = without_default_port(origin);
        self.list.iter().any(|o| o.is(origin))
    }
}

/// `https://app.example:443` is `https://app.example`: browsers never send a scheme's own port (RFC 6454 §6.2).
fn without_default_port(origin: &str) -> &str {
    let (scheme, rest) = origin.split_once("://").unwrap_or_default();
    let port = match () {
        () if scheme.eq_ignore_ascii_case("https") => ":443",
        () if scheme.eq_ignore_ascii_case("http") => ":80",
        () => return origin,
    };
    match rest.ends_with(port) {
        true => &origin[..origin.len() - port.len()],
        false => origin,
    }
}

/// The host as browsers write it: `bücher.example` is `xn--bcher-kva.example` (RFC 6454 §6.2, UTS #46).
fn ascii_host(host: &str) -> Option<Cow<'_, str>> {
    if host.is_ascii() {
        return Some(Cow::Borrowed(host));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = idna::domain_to_ascii(name).ok()?;
    Some(Cow::Owned(if port.is_empty() { name } else { format!("{name}:{port}") }))
}

/// A host as requests have it, without port and last dot: `gw.example`, `*.gw.example`, `xn--bcher-kva.example`, `[::1]`.
/// `None`: it is none.
pub fn canonical_host(text: &str) -> Option<String> {
    let (star, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
    let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).is_some_and(|n| n.parse::<IpAddr>().is_ok());
    let plain = !name.is_empty() && !name.contains(['/', '*', ' ', '?', '#', '@', ':', '[', ']']);
    let name = if address { name } else { ascii_host(&name).filter(|_| plain)?.into_owned() };
    Some(format!("{star}{name}"))
}

/// Whether the page is served on this machine: `http://localhost:5173`, `http://127.0.0.1:3000`, `http://[::1]`.
pub fn is_loopback_origin(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let host = match authority.find(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or_default(),
    };
    is_loopback_host(host)
}

/// Whether a host is this machine by its very name: `localhost`, `a.localhost` (RFC 6761 §6.3), `127.0.0.1`, `[::1]`.
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let last = host.rsplit('.').next().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (last.eq_ignore_ascii_case("localhost") && host.chars().all(name))
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl Origin {
    fn parse(text: &str) -> Option<Origin> {
        let text = text.strip_suffix('/').unwrap_or(text).to_lowercase();
        if text == "null" {
            return Some(Origin::Exact(text));
        }
        let (scheme, host) = text.split_once("://")?;
        let plain = |s: &str| !s.is_empty() && !s.contains(['/', '*', ' ', '?', '#', '@']);
        if !plain(scheme) {
            return None;
        }
        let written = |host: &str| {
            let origin = format!("{scheme}://{}", ascii_host(host)?);
            let origin = without_default_port(&origin);
            origin.is_ascii().then(|| origin[scheme.len() + 3..].to_owned())
        };
        match host.strip_prefix("*.") {
            Some(below) if plain(below) => Some(Origin::Below(format!("{scheme}://"), format!(".{}", written(below)?))),
            _ if plain(host) => Some(Origin::Exact(format!("{scheme}://{}", written(host)?))),
            _ => None,
        }
    }

    fn is(&self, origin: &str) -> bool {
        let ends = |text: &str, end: &str| {
            let (text, end) = (text.as_bytes(), end.as_bytes());
            text.len() > end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
        };
        match self {
            Origin::Exact(exact) => origin.eq_ignore_ascii_case(exact),
            Origin::Below(scheme, below) => {
                let host = origin.get(..scheme.len()).filter(|s| s.eq_ignore_ascii_case(scheme));
                host.is_some_and(|_| ends(&origin[scheme.len()..], below))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_as_a_whole() {
        let texts = ["https://app.example", "https://*.clinic.example", "http://localhost:5173/", "null"];
        let origins = Origins::parse(&texts.map(String::from)).unwrap();
        for (origin, allowed) in [
            ("https://app.example", true),
            ("HTTPS://App.Example", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("https://a.clinic.example", true),
            ("https://clinic.example", false),
            ("https://.clinic.example", false),
            ("https://evilclinic.example", false),
            ("http://localhost:5173", true),
            ("null", true),
            ("", false),
        ] {
            assert_eq!(origins.allows(origin), allowed, "{origin}");
        }
        assert!(Origins::parse(&["*".into()]).unwrap().allows("https://anything.example"));
        assert!(!Origins::default().allows("https://app.example"));
        for bad in [
            "https://a b.example",
            "https://\u{fffd}.example",
            "app.example",
            "https://",
            "https://*",
            "https://a.*.example",
            "https://a.example/path",
        ] {
            assert_eq!(Origins::parse(&["null".into(), bad.into()]), Err(1), "{bad}");
        }
    }

    #[test]
    fn a_default_port_and_letters_of_other_scripts_are_what_browsers_make_of_them() {
        let texts = [
            "https://app.example:443",
            "http://a.example:80/",
            "https://Bücher.example",
            "https://*.größe.example:443",
        ];
        let origins = Origins::parse(&texts.map(String::from)).unwrap();
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://app.example:443", true),
            ("https://app.example:80", false),
            ("http://app.example", false),
            ("http://a.example", true),
            ("http://a.example:443", false),
            ("https://xn--bcher-kva.example", true),
            ("https://bucher.example", false),
            ("https://a.xn--gre-6ka8i.example", true),
            ("https://xn--gre-6ka8i.example", false),
        ] {
            assert_eq!(origins.lists(origin), allowed, "{origin}");
        }
        assert!(!Origins::parse(&["*".into()]).unwrap().lists("https://app.example"));
    }

    #[test]
    fn a_host_is_written_as_requests_have_it() {
        for (text, host) in [
            ("GW.Example", Some("gw.example")),
            ("gw.example.", Some("gw.example")),
            ("*.gw.example", Some("*.gw.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("*.Bücher.example", Some("*.xn--bcher-kva.example")),
            ("[::1]", Some("[::1]")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("gw.example:3000", None),
            ("https://gw.example", None),
            ("*", None),
            ("a*.example", None),
            ("", None),
        ] {
            assert_eq!(canonical_host(text).as_deref(), host, "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for origin in
            ["http://localhost:5173", "https://LOCALHOST", "http://a.localhost", "http://127.8.0.1", "http://[::1]:80"]
        {
            assert!(is_loopback_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://notlocalhost",
            "http://192.0.2.1",
            "http://0.0.0.0",
            "http://localhost@evil.example",
        ] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }
}
