//! The settings of this room, compiled.

use super::certificate::Certificate;
use super::forwarded::Trusted;
use super::hosts::Hosts;
use super::router::{AppEndpoints, Router};
use super::settings::{HttpSettings, ListenerSettings, ProxyProtocol};
use super::tls;
use crate::model::{AppId, Millis, Origins, Problem, canonical_host};
use std::collections::BTreeMap;
use std::path::Path;
use tokio_rustls::TlsAcceptor;

/// hyper reads no less at once.
const HEADER_BYTES_MIN: u64 = 8 << 10;

/// What this room needs of one loading of the files.
pub struct Entrance {
    pub router: Router,
    /// By number: a name and an address have theirs for the life of the process. `None`: it is gone.
    pub listeners: Vec<Option<Listener>>,
    pub http: HttpSettings,
    pub(super) trusted: Trusted,
    pub(super) origins: Origins,
    /// Names that development mode answers to.
    pub(super) hosts: Hosts,
    /// By listener: the origins that its apps name, whose pages may call the HTTP API.
    pub(super) cors: Vec<Vec<Origins>>,
}

/// Numbers of listeners by name and address: of every one that ever was in force.
pub type Numbers = BTreeMap<(String, String), u16>;

/// Numbers those that are new. A listener at another address is another one: its connections are those of a listener
/// that is gone.
pub fn number(listeners: &BTreeMap<String, ListenerSettings>, numbers: &mut Numbers) {
    for (name, settings) in listeners {
        let next = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
        numbers.entry((name.clone(), settings.address.clone())).or_insert(next);
    }
}

/// One `[listener.NAME]`.
pub struct Listener {
    pub name: String,
    pub admin: bool,
    /// Those of its TLS files.
    pub certificates: Vec<Certificate>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) proxy_protocol: ProxyProtocol,
}

impl Entrance {
    /// All that is wrong at once. A problem's path is relative to the file of the app beside it, else to `gateway.toml`;
    /// `base` is the folder of that. `numbers`: as [`number`] made them.
    pub fn compile(
        listeners: &BTreeMap<String, ListenerSettings>,
        numbers: &Numbers,
        http: &HttpSettings,
        apps: &[AppEndpoints],
        base: &Path,
    ) -> Result<Entrance, Vec<(Option<AppId>, Problem)>> {
        let mut problems = Vec::new();
        let (trusted, origins) = compile_http(http, &mut problems);
        let count = numbers.values().map(|n| usize::from(*n) + 1).max().unwrap_or(0);
        let mut compiled: Vec<Option<Listener>> = (0..count).map(|_| None).collect();
        let mut names = vec![""; count];
        for (name, s) in listeners {
            let made = listener(name, s, &trusted, base, &mut problems);
            if let Some(number) = numbers.get(&(name.clone(), s.address.clone())) {
                compiled[usize::from(*number)] = Some(made);
                names[usize::from(*number)] = name;
            }
        }
        let mut problems: Vec<_> = problems.into_iter().map(|problem| (None, problem)).collect();
        let router = Router::compile(apps, &names)
            .map_err(|of_apps| problems.extend(of_apps.into_iter().map(|(app, problem)| (Some(app), problem))));
        match router {
            Ok(router) if problems.is_empty() => {
                let cors = names.iter().map(|name| cors(name, apps)).collect();
                let of_endpoints = apps.iter().flat_map(|app| &app.endpoints).filter_map(|e| e.host.as_deref());
                let hosts = Hosts::new(http.hosts.iter().map(String::as_str).chain(of_endpoints));
                Ok(Entrance { router, listeners: compiled, http: http.clone(), trusted, origins, hosts, cors })
            }
            _ => Err(problems),
        }
    }

    /// All certificates, each with the name of its listener.
    pub fn certificates(&self) -> impl Iterator<Item = (&str, &Certificate)> {
        let listeners = self.listeners.iter().flatten();
        listeners.flat_map(|listener| listener.certificates.iter().map(|c| (listener.name.as_str(), c)))
    }

    /// Certificates that have expired or soon will; paths are those of `gateway.toml`.
    pub fn expiring(&self, now: Millis) -> Vec<Problem> {
        let told = self.certificates().filter_map(|(name, certificate)| Some((name, certificate.problem(now)?)));
        told.map(|(name, p)| Problem { path: format!("listener.{name}.{}", p.path), ..p }).collect()
    }

    pub fn listener(&self, number: u16) -> Option<&Listener> {
        self.listeners.get(usize::from(number))?.as_ref()
    }
}

fn compile_http(http: &HttpSettings, problems: &mut Vec<Problem>) -> (Trusted, Origins) {
    let trusted = Trusted::parse(&http.trusted_proxies).unwrap_or_else(|i| {
        let what = format!("`{}` is neither an address nor a network", http.trusted_proxies[i]);
        let problem = Problem::new(format!("http.trusted_proxies[{i}]"), what);
        problems.push(problem.expected("`192.0.2.1` or `10.0.0.0/8`"));
        Trusted::default()
    });
    let origins = Origins::compile(&http.origins, "http.origins").unwrap_or_else(|problem| {
        problems.push(problem);
        Origins::default()
    });
    for (i, host) in http.hosts.iter().enumerate().filter(|(_, host)| canonical_host(host).is_none()) {
        let problem = Problem::new(format!("http.hosts[{i}]"), format!("`{host}` is no host"));
        problems.push(problem.expected("a name without scheme and port, such as `gw.test` or `*.gw.test`"));
    }
    if http.header_bytes.0 < HEADER_BYTES_MIN {
        let problem = Problem::new("http.header_bytes", format!("{} bytes are too few", http.header_bytes.0));
        problems.push(problem.expected("8KiB at least"));
    }
    (trusted, origins)
}

fn listener(name: &str, s: &ListenerSettings, trusted: &Trusted, base: &Path, problems: &mut Vec<Problem>) -> Listener {
    let mut at = |problem: Problem| {
        let path = format!("listener.{name}.{}", problem.path);
        problems.push(Problem { path, ..problem });
    };
    let tls =
        s.tls.as_ref().and_then(|tls| tls::acceptor(tls, base).map_err(|all| all.into_iter().for_each(&mut at)).ok());
    let (tls, certificates) = tls.unzip();
    if s.proxy_protocol != ProxyProtocol::Off && trusted.is_empty() {
        let problem = Problem::new("proxy_protocol", "a PROXY header, and nobody whose word is believed");
        at(problem.expected("the load balancer's address in `http.trusted_proxies`"));
    }
    Listener {
        name: name.to_owned(),
        admin: s.admin,
        tls,
        certificates: certificates.unwrap_or_default(),
        proxy_protocol: s.proxy_protocol,
    }
}

fn cors(listener: &str, apps: &[AppEndpoints]) -> Vec<Origins> {
    let here = |app: &&AppEndpoints| {
        app.listener == Some(listener) || app.endpoints.iter().any(|e| e.listener.as_deref() == Some(listener))
    };
    apps.iter().filter(here).filter_map(|app| Origins::parse(app.origins?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Size;

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let listener = |text: &str| serde_json::from_str::<ListenerSettings>(text).unwrap();
        let listeners = BTreeMap::from([
            ("main".to_owned(), listener(r#"{"address":"127.0.0.1:0","proxy_protocol":"require"}"#)),
            ("tls".to_owned(), listener(r#"{"address":"127.0.0.1:0","tls":{"cert":"no.pem","key":"no.pem"}}"#)),
        ]);
        let mut numbers = Numbers::new();
        number(&listeners, &mut numbers);
        let http = HttpSettings {
            trusted_proxies: vec!["proxy".into()],
            origins: vec!["example".into()],
            hosts: vec!["gw.test".into(), "http://gw.test".into()],
            header_bytes: Size(100),
            ..HttpSettings::default()
        };
        let endpoints: Vec<_> = [r#"{"path":"/ws","dialect":"d","origins":["x"]}"#]
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        let app = AppEndpoints {
            app: AppId(3),
            name: "a",
            listener: Some("main"),
            origins: None,
            endpoints: endpoints.iter().collect(),
        };
        let problems = Entrance::compile(&listeners, &numbers, &http, &[app], Path::new("/nowhere")).err().unwrap();
        let paths: Vec<_> = problems.iter().map(|(app, p)| (app.map(|a| a.0), p.path.as_str())).collect();
        assert_eq!(
            paths,
            [
                (None, "http.trusted_proxies[0]"),
                (None, "http.origins[0]"),
                (None, "http.hosts[1]"),
                (None, "http.header_bytes"),
                (None, "listener.main.proxy_protocol"),
                (None, "listener.tls.tls.cert"),
                (None, "listener.tls.tls.key"),
                (Some(3), "endpoint[0].origins[0]"),
            ]
        );
    }
}
