//! Which endpoint a request is for: listener, host, path, then the endpoint's own conditions.
//!
//! Endpoints with equal host and conditions form a layer with a path tree of its own; a request asks each layer whose
//! conditions hold, and gets the layers' answers in order: host before no host, the more telling path, more conditions.
//! Conditions on the token are left to the caller, who tries the candidates in this order after authentication.

use super::pattern::Pattern;
use super::settings::{EndpointSettings, WhenSettings};
use super::text::list;
use crate::model::{AppId, Origins, Problem, did_you_mean, one_of};
use crate::model::{canonical_host, canonical_path, percent_decode, query_pairs};
use hyper::HeaderMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// A decoded path variable's length; longer ones match nothing.
pub const VARIABLE_BYTES_MAX: usize = 1024;

/// The endpoints of an app, as its file has them.
pub struct AppEndpoints<'a> {
    pub app: AppId,
    /// For texts: `reports`.
    pub name: &'a str,
    /// The app's `listener`.
    pub listener: Option<&'a str>,
    /// The app's `origins`, for endpoints without their own and for calls of its HTTP API from other origins.
    pub origins: Option<&'a [String]>,
    pub endpoints: Vec<&'a EndpointSettings>,
}

/// A way that a request may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate<'r> {
    pub app: AppId,
    /// Index of the app's `[[endpoint]]`.
    pub endpoint: u16,
    /// Claims that the verified token must have.
    pub has: &'r [String],
    /// `None`: all that `[http]` allows.
    pub origins: Option<&'r Origins>,
    pub protocols: &'r [String],
    /// The path's variables, decoded.
    pub vars: Vars,
}

/// Names and decoded values of a path's variables.
pub type Vars = SmallVec<[(Arc<str>, Box<str>); 1]>;

/// What of a request is routed by.
pub struct Asked<'a> {
    pub listener: u16,
    /// Lower case, without port.
    pub host: Option<&'a str>,
    /// As sent, still encoded.
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
}

/// All apps' endpoints, compiled.
#[derive(Debug, Default)]
pub struct Router {
    layers: Vec<Layer>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Layer {
    listener: u16,
    host: Option<String>,
    when: WhenSettings,
    paths: matchit::Router<usize>,
}

#[derive(Debug)]
struct Target {
    layer: usize,
    app: AppId,
    app_name: String,
    endpoint: u16,
    pattern: Pattern,
    names: Vec<Arc<str>>,
    origins: Option<Origins>,
    protocols: Vec<String>,
}

impl Router {
    /// `listeners` in the order of their numbers; the name of one that is gone is empty. Problems' paths are relative to the file of the app beside them.
    pub fn compile(apps: &[AppEndpoints], listeners: &[&str]) -> Result<Router, Vec<(AppId, Problem)>> {
        let (mut router, mut problems) = (Router::default(), Vec::new());
        for app in apps {
            for (i, endpoint) in app.endpoints.iter().enumerate() {
                if let Err(problem) = router.add(app, i, endpoint, listeners) {
                    problems.push((app.app, problem));
                }
            }
        }
        router.add_bare();
        if problems.is_empty() { Ok(router) } else { Err(problems) }
    }

    fn add(&mut self, app: &AppEndpoints, i: usize, e: &EndpointSettings, listeners: &[&str]) -> Result<(), Problem> {
        let at = |key: &str| format!("endpoint[{i}].{key}");
        let listener = listener_of(app, i, e, listeners)?;
        let pattern = Pattern::parse(&e.path)
            .map_err(|what| Problem::new(at("path"), format!("bad path `{}`: {what}", e.path)))?;
        let host = e.host.as_deref().map(|host| {
            canonical_host(host).ok_or_else(|| {
                Problem::new(at("host"), format!("`{host}` is no host"))
                    .expected("a name without scheme and port, such as `gw.example` or `*.gw.example`")
            })
        });
        let host = host.transpose()?;
        let mut when = e.when.clone();
        when.header = when.header.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        when.token.has.sort();
        when.token.has.dedup();
        if let Some(other) = self.rival(listener, &host, &when, &pattern) {
            let (there, number) = (&other.app_name, other.endpoint);
            let what = format!(
                "endpoint `{}` of `{}` takes what endpoint[{number}] of `{there}` takes: nothing tells them apart",
                e.path, app.name
            );
            return Err(Problem::new(at("path"), what).expected("another path, listener, host or `when`"));
        }
        let origins = match (&e.origins, app.origins) {
            (Some(own), _) => Some(Origins::compile(own, &at("origins"))?),
            (None, Some(of_app)) => Some(Origins::compile(of_app, "origins")?),
            (None, None) => None,
        };
        let layer = self.layer(listener, host, when);
        let target = Target {
            layer,
            app: app.app,
            app_name: app.name.to_owned(),
            endpoint: i as u16,
            names: pattern.names.iter().map(|n| Arc::from(n.as_str())).collect(),
            origins,
            protocols: e.protocols.clone(),
            pattern,
        };
        let shape = target.pattern.shape.clone();
        let number = self.targets.len();
        if let Err(error) = self.layers[layer].paths.insert(shape, number) {
            return Err(Problem::new(at("path"), format!("path `{}` does not go with the others: {error}", e.path)));
        }
        self.targets.push(target);
        Ok(())
    }

    fn layer(&mut self, listener: u16, host: Option<String>, when: WhenSettings) -> usize {
        let same = |l: &Layer| l.listener == listener && l.host == host && l.when == when;
        self.layers.iter().position(same).unwrap_or_else(|| {
            self.layers.push(Layer { listener, host, when, paths: matchit::Router::new() });
            self.layers.len() - 1
        })
    }

    /// An endpoint of the same path and host whose conditions may hold for the same request, and are as many.
    fn rival(&self, listener: u16, host: &Option<String>, when: &WhenSettings, path: &Pattern) -> Option<&Target> {
        let near = self.layers.iter().filter(|l| l.listener == listener && l.host == *host);
        let tied = near.filter(|l| l.when.count() == when.count() && !exclusive(&l.when, when));
        tied.filter_map(|l| l.paths.at(&path.shape).ok())
            .map(|found| &self.targets[*found.value])
            .find(|target| target.pattern.shape == path.shape)
    }

    /// `/x/{*rest}` matches `/x` where no endpoint of its layer has that path itself.
    fn add_bare(&mut self) {
        for (number, target) in self.targets.iter().enumerate() {
            if let Some(bare) = &target.pattern.bare {
                let _ = self.layers[target.layer].paths.insert(bare, number); // taken: that very path keeps it
            }
        }
    }

    /// The endpoints that the request may be for, the first to be tried first.
    pub fn find<'r>(&'r self, asked: &Asked) -> SmallVec<[Candidate<'r>; 2]> {
        let path = canonical_path(asked.path);
        let path = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(&path);
        let mut found: SmallVec<[(&Layer, &Target, Vars); 2]> = SmallVec::new();
        for layer in self.layers.iter().filter(|l| l.holds(asked)) {
            if let Ok(hit) = layer.paths.at(path) {
                let target = &self.targets[*hit.value];
                found.extend(target.vars(&hit.params).map(|vars| (layer, target, vars)));
            }
        }
        found.sort_by(|(a, s, _), (b, t, _)| {
            let host = host_rank(&a.host).cmp(&host_rank(&b.host));
            host.then_with(|| s.pattern.precedence(&t.pattern)).then_with(|| b.when.count().cmp(&a.when.count()))
        });
        let candidate = |(layer, target, vars): (&'r Layer, &'r Target, Vars)| Candidate {
            app: target.app,
            endpoint: target.endpoint,
            has: &layer.when.token.has,
            origins: target.origins.as_ref(),
            protocols: &target.protocols,
            vars,
        };
        found.into_iter().map(candidate).collect()
    }
}

fn listener_of(app: &AppEndpoints, i: usize, e: &EndpointSettings, listeners: &[&str]) -> Result<u16, Problem> {
    let (at, name) = match (e.listener.as_deref(), app.listener) {
        (Some(own), _) => (format!("endpoint[{i}].listener"), own),
        (None, Some(of_app)) => ("listener".to_owned(), of_app),
        (None, None) => {
            let problem = Problem::new(format!("endpoint[{i}]"), "endpoint without a listener");
            return Err(problem.expected("`listener`, here or for the whole app"));
        }
    };
    let known = || listeners.iter().copied().filter(|l| !l.is_empty());
    listeners.iter().position(|l| *l == name && !l.is_empty()).map(|number| number as u16).ok_or_else(|| {
        Problem::new(at, format!("unknown listener `{name}`"))
            .expected(one_of(known()))
            .hint(did_you_mean(name, known()))
    })
}

/// Whether one key has two values, so that no request meets both.
fn exclusive(a: &WhenSettings, b: &WhenSettings) -> bool {
    a.query.iter().any(|(k, v)| v != "*" && b.query.get(k).is_some_and(|w| w != "*" && w != v))
}

fn host_rank(host: &Option<String>) -> (u8, std::cmp::Reverse<usize>) {
    let kind = host.as_deref().map_or(2, |h| u8::from(h.starts_with("*.")));
    (kind, std::cmp::Reverse(host.as_ref().map_or(0, String::len)))
}

impl Layer {
    fn holds(&self, asked: &Asked) -> bool {
        let host = || match (&self.host, asked.host) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(host)) => match ours.strip_prefix('*') {
                Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                None => ours == host,
            },
        };
        let is = |wanted: &str, value: &str| wanted == "*" || wanted == value;
        self.listener == asked.listener
            && host()
            && self
                .when
                .query
                .iter()
                .all(|(k, v)| query_pairs(asked.query).any(|(name, value)| name == *k && is(v, &value)))
            && self.when.header.iter().all(|(name, wanted)| {
                let whole = asked.headers.get_all(name).iter().any(|v| is(wanted, v.to_str().unwrap_or("")));
                whole || list(asked.headers, name).any(|element| element == wanted)
            })
    }
}

impl Target {
    /// `None`: a variable does not decode, or is too long.
    fn vars(&self, params: &matchit::Params) -> Option<Vars> {
        let value = |(i, name): (usize, &Arc<str>)| {
            let raw = params.iter().nth(i).map_or("", |(_, raw)| raw);
            let text = percent_decode(raw).filter(|text| text.len() <= VARIABLE_BYTES_MAX)?;
            Some((name.clone(), Box::from(text.as_ref())))
        };
        self.names.iter().enumerate().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: AppId = AppId(2);
    const NAMES: [&str; 3] = ["reports", "clinic", "tenant"];

    fn endpoint(text: &str) -> EndpointSettings {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["dialect"] = "d".into();
        serde_json::from_value(value).unwrap()
    }

    fn compile(apps: &[(u16, &[&str])]) -> Result<Router, Vec<(AppId, Problem)>> {
        let endpoints: Vec<Vec<EndpointSettings>> =
            apps.iter().map(|(_, texts)| texts.iter().map(|t| endpoint(t)).collect()).collect();
        let apps: Vec<AppEndpoints> = apps
            .iter()
            .zip(&endpoints)
            .map(|((app, _), endpoints)| {
                let name = NAMES[*app as usize];
                let endpoints = endpoints.iter().collect();
                AppEndpoints { app: AppId(*app), name, listener: Some("main"), origins: None, endpoints }
            })
            .collect();
        Router::compile(&apps, &["main", "other"])
    }

    /// `app/endpoint` of the candidates, in order, with their variables.
    fn find(
        router: &Router,
        listener: u16,
        host: Option<&str>,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let found = router.find(&Asked { listener, host, path, query, headers: &map });
        let text = |c: &Candidate| {
            let vars: String = c.vars.iter().map(|(n, v)| format!(" {n}={v}")).collect();
            format!("{}/{}{vars}", c.app.0, c.endpoint)
        };
        found.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_request_finds_its_endpoint() {
        let router = compile(&[
            (0, &[r#"{"path":"/ws"}"#, r#"{"path":"/ws/health"}"#, r#"{"path":"/progress/{reportId}"}"#]),
            (1, &[r#"{"path":"/{*any}","listener":"other"}"#, r#"{"path":"/ws","host":"*.clinic.example"}"#]),
            (
                2,
                &[
                    r#"{"path":"/ws","when":{"token":{"has":["tenantId"]}}}"#,
                    r#"{"path":"/ws","when":{"query":{"EIO":"4"}}}"#,
                ],
            ),
        ]);
        // The token's condition and the query's are one each, and may both hold.
        assert!(router.unwrap_err()[0].1.what.contains("nothing tells them apart"));
        let router = compile(&[
            (0, &[r#"{"path":"/ws"}"#, r#"{"path":"/ws/health"}"#, r#"{"path":"/progress/{reportId}"}"#]),
            (1, &[r#"{"path":"/{*any}","listener":"other"}"#, r#"{"path":"/ws","host":"*.clinic.example"}"#]),
            (2, &[r#"{"path":"/ws","when":{"token":{"has":["tenantId"]}}}"#]),
        ])
        .unwrap();
        for (listener, host, target, expected) in [
            (0, None, "/ws", "2/0, 0/0"),
            (0, None, "/ws/", "2/0, 0/0"),
            (0, None, "/ws?token=x", "2/0, 0/0"),
            (0, None, "/ws//", ""),
            (0, None, "/WS", ""),
            (0, None, "/ws/health", "0/1"),
            (0, None, "/progress/r%2F1", "0/2 reportId=r/1"),
            (0, None, "/progress/%ff", ""),
            (0, None, "/progress/", ""),
            (0, None, "/elsewhere", ""),
            (1, None, "/", "1/0 any="),
            (1, None, "/a/b/", "1/0 any=a/b"),
            (0, Some("a.clinic.example"), "/ws", "1/1, 2/0, 0/0"),
            (0, Some("clinic.example"), "/ws", "2/0, 0/0"),
            (2, None, "/ws", ""),
        ] {
            assert_eq!(find(&router, listener, host, target, &[]), expected, "{listener} {host:?} {target}");
        }
        let long = format!("/progress/{}", "x".repeat(VARIABLE_BYTES_MAX + 1));
        assert_eq!(find(&router, 0, None, &long, &[]), "");
        let found = router.find(&Asked { listener: 0, host: None, path: "/ws", query: "", headers: &HeaderMap::new() });
        assert_eq!((found[0].app, found[0].has), (TENANT, &["tenantId".to_owned()][..]));
    }

    #[test]
    fn conditions_are_tried_from_many_to_few() {
        let router = compile(&[(
            0,
            &[
                r#"{"path":"/ws"}"#,
                r#"{"path":"/ws","when":{"query":{"EIO":"4"}}}"#,
                r#"{"path":"/ws","when":{"query":{"EIO":"3"}}}"#,
                r#"{"path":"/ws","when":{"query":{"EIO":"4"},"header":{"Sec-WebSocket-Protocol":"weir"}}}"#,
                r#"{"path":"/{*any}","when":{"query":{"app":"*"}}}"#,
            ],
        )])
        .unwrap();
        for (target, expected) in [
            ("/ws?EIO=4", "0/1, 0/0"),
            ("/ws?EIO=3", "0/2, 0/0"),
            ("/ws?EIO=5", "0/0"),
            ("/ws?app=x", "0/0, 0/4 any=ws"),
            ("/?app", "0/4 any="),
        ] {
            assert_eq!(find(&router, 0, None, target, &[]), expected, "{target}");
        }
        let headers = [("sec-websocket-protocol", "chat, weir")];
        assert_eq!(find(&router, 0, None, "/ws/?EIO=4", &headers), "0/3, 0/1, 0/0");
    }

    #[test]
    fn what_overlaps_or_is_unknown_is_told_with_both_names() {
        let of = |apps: &[(u16, &[&str])]| {
            let problems = compile(apps).unwrap_err();
            problems.iter().map(|(app, p)| format!("{} {} {}", app.0, p.path, p.what)).collect::<Vec<_>>().join("\n")
        };
        let text = of(&[(0, &[r#"{"path":"/a/{x}"}"#]), (2, &[r#"{"path":"/a/{y}/"}"#])]);
        assert_eq!(
            text,
            "2 endpoint[0].path endpoint `/a/{y}/` of `tenant` takes what endpoint[0] of `reports` takes: nothing tells them apart"
        );
        let text = of(&[(0, &[r#"{"path":"/a","listener":"mian"}"#, r#"{"path":"a"}"#])]);
        assert!(text.contains("endpoint[0].listener unknown listener `mian`"), "{text}");
        assert!(text.contains("endpoint[1].path bad path `a`"), "{text}");
    }

    #[test]
    fn letters_of_other_scripts_match_as_browsers_send_them() {
        let router =
            compile(&[(0, &[r#"{"path":"/größe/{n}/"}"#, r#"{"path":"/h","host":"Bücher.example."}"#])]).unwrap();
        assert_eq!(find(&router, 0, None, "/gr%C3%B6%C3%9Fe/7", &[]), "0/0 n=7");
        assert_eq!(find(&router, 0, None, "/gr%c3%b6%c3%9fe/%C3%A9%2F/", &[]), "0/0 n=é/");
        assert_eq!(find(&router, 0, None, "/gr%C3%B6%C3%9Fe/%ff", &[]), "");
        assert_eq!(find(&router, 0, Some("xn--bcher-kva.example"), "/h", &[]), "0/1");
        let wrong = compile(&[(0, &[r#"{"path":"/a","host":"gw.example:3000"}"#])]).unwrap_err();
        assert!(wrong[0].1.what.contains("is no host"), "{wrong:?}");
    }
}
