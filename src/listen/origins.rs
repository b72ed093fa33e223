//! Which pages may open connections: the `Origin` of an upgrade (RFC 6455 §10.2, RFC 6454).

use crate::model::Problem;

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
        self.any || self.list.iter().any(|o| o.is(origin))
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Origin> {
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        if text == "null" {
            return Some(Origin::Exact(text));
        }
        let (scheme, host) = text.split_once("://")?;
        let plain = |s: &str| !s.is_empty() && !s.contains(['/', '*', ' ', '?', '#', '@']);
        if !plain(scheme) {
            return None;
        }
        match host.strip_prefix('*') {
            Some(below) if below.starts_with('.') && plain(below) => {
                Some(Origin::Below(format!("{scheme}://"), below.to_owned()))
            }
            _ => plain(host).then_some(Origin::Exact(text.clone())),
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
        for bad in ["app.example", "https://", "https://*", "https://a.*.example", "https://a.example/path"] {
            assert_eq!(Origins::parse(&["null".into(), bad.into()]), Err(1), "{bad}");
        }
    }
}
