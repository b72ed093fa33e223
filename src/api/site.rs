//! What is served where: listeners, the apps on them, and their routes.

use super::app::AppHttp;
use super::fail::{Fail, Why};
use super::keys::{ApiKey, Keys};
use super::query::percent_decode;
use super::route::Route;
use super::verb::Verb;
use crate::model::{Problem, one_of};
use hyper::Method;
use matchit::Router;
use std::collections::HashMap;

/// The HTTP surface of one generation.
pub struct Site {
    pub(super) keys: Keys,
    pub(super) apps: Vec<AppHttp>,
    listeners: HashMap<String, Listener>,
}

#[derive(Default)]
pub(super) struct Listener {
    pub admin: bool,
    /// Places in `Site::apps`: that of the first endpoint first. All of them on an admin listener.
    pub apps: Vec<usize>,
    router: Router<Vec<(Method, usize, usize)>>,
    /// Paths of endpoints: only WebSockets are there.
    sockets: Router<()>,
}

/// A route that a request is for, and the values of its path's variables.
pub(super) struct Matched<'s> {
    pub app: &'s AppHttp,
    pub route: &'s Route,
    pub vars: Vec<(String, String)>,
}

impl Site {
    /// `listeners`: names and whether they are `admin`. `apps`: in the order of their files.
    /// Err: problems with the name of the app whose file has them; routes that overlap.
    pub fn compile(listeners: &[(&str, bool)], keys: Keys, apps: Vec<AppHttp>) -> Result<Site, Vec<(String, Problem)>> {
        let (mut made, mut problems): (HashMap<String, Listener>, _) = (HashMap::new(), Vec::new());
        for (name, admin) in listeners {
            let here = |app: &AppHttp| app.endpoints.iter().any(|(listener, _)| listener == name);
            let routed = |app: &AppHttp| app.routes.iter().any(|r| r.listener == *name);
            let mut on: Vec<usize> = (0..apps.len()).filter(|i| here(&apps[*i])).collect();
            on.extend((0..apps.len()).filter(|i| !here(&apps[*i]) && (*admin || routed(&apps[*i]))));
            let sockets =
                sockets(apps.iter().flat_map(|a| &a.endpoints).filter(|(l, _)| l == name).map(|(_, path)| path));
            let mut listener = Listener { admin: *admin, apps: on, router: Router::new(), sockets };
            // The routes of a pattern together, because a router takes each pattern once.
            let mut patterns: Vec<(&str, Vec<Entry>)> = Vec::new();
            for (a, app) in apps.iter().enumerate() {
                for (r, route) in app.routes.iter().enumerate().filter(|(_, r)| r.listener == *name) {
                    let at = format!("route[{r}].{}", route.method.as_str().to_lowercase());
                    let mut problem = |what: String, hint: &str| {
                        let problem = Problem::new(&at, what).expected(hint);
                        problems.push((app.name.to_string(), problem));
                    };
                    if reserved(&route.pattern) {
                        problem(format!("`{}` is a path of the HTTP API's own", route.pattern), "another path");
                        continue;
                    }
                    match patterns.iter_mut().find(|(p, _)| *p == route.pattern) {
                        None => patterns.push((&route.pattern, vec![(route.method.clone(), a, r)])),
                        Some((_, routes)) => match routes.iter().find(|(method, ..)| *method == route.method) {
                            None => routes.push((route.method.clone(), a, r)),
                            Some((_, other, n)) => {
                                let of = if *other == a {
                                    String::new()
                                } else {
                                    format!(" of app `{}`", apps[*other].name)
                                };
                                problem(format!("`{}` is route[{n}]{of} already", route.name), "one route for it");
                            }
                        },
                    }
                }
            }
            for (pattern, routes) in patterns {
                let (_, a, r) = routes[0].clone();
                if let Err(error) = listener.router.insert(pattern, routes) {
                    let route = &apps[a].routes[r];
                    let path = format!("route[{r}].{}", route.method.as_str().to_lowercase());
                    let what = format!("`{}` overlaps another route: {error}", route.name);
                    problems.push((apps[a].name.to_string(), Problem::new(path, what)));
                }
            }
            made.insert((*name).to_owned(), listener);
        }
        if problems.is_empty() { Ok(Site { keys, apps, listeners: made }) } else { Err(problems) }
    }

    pub(super) fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.get(name)
    }

    /// The route for a request; `Ok(None)` where no path matches.
    pub(super) fn route(&self, listener: &Listener, method: &Method, path: &str) -> Result<Option<Matched<'_>>, Fail> {
        let Ok(found) = listener.router.at(path) else { return Ok(None) };
        let Some((_, app, route)) = found.value.iter().find(|(m, ..)| m == method) else {
            let mut allow: Vec<&str> = found.value.iter().map(|(m, ..)| m.as_str()).collect();
            if allow.contains(&"GET") {
                allow.push("HEAD");
            }
            return Err(Fail::method(&allow));
        };
        let (app, mut vars) = (&self.apps[*app], Vec::new());
        let route = &app.routes[*route];
        for (name, (_, value)) in route.vars.iter().zip(found.params.iter()) {
            let Some(value) = percent_decode(value) else { return Ok(None) };
            vars.push((name.clone(), value.into_owned()));
        }
        Ok(Some(Matched { app, route, vars }))
    }

    /// The app of a verb. Without a name: of those that the key covers, that of the listener's first endpoint; on an
    /// admin listener only where that leaves no choice.
    pub(super) fn app(&self, listener: &Listener, name: Option<&str>, key: &ApiKey) -> Result<&AppHttp, Fail> {
        let apps = || listener.apps.iter().map(|at| &self.apps[*at]);
        let covered = || apps().filter(|app| key.covers_app(&app.name));
        let names = || one_of(apps().map(|app| &*app.name));
        match name {
            Some(name) => apps()
                .find(|app| &*app.name == name)
                .ok_or_else(|| Fail::new(Why::UnknownApp, format!("`app`: one of {} is here", names()))),
            None if listener.admin && covered().count() > 1 => {
                Err(Fail::body(format!("`app` is required here: {}", names())))
            }
            None => covered().next().ok_or_else(|| Fail::new(Why::Forbidden, "The key covers no app that is here")),
        }
    }

    /// The app that a listener belongs to alone.
    pub(super) fn only_app(&self, listener: &Listener) -> Option<&AppHttp> {
        match &listener.apps[..] {
            [only] if !listener.admin => Some(&self.apps[*only]),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_tuple("Site").field(&self.keys).field(&self.apps).finish()
    }
}

/// Catch-alls are left out: nothing but a WebSocket would ever be not found there.
fn sockets<'p>(paths: impl Iterator<Item = &'p String>) -> Router<()> {
    let mut router = Router::new();
    for path in paths.filter(|p| !p.contains("{*")) {
        // The same path twice, told apart by something else, is one path here.
        let _ = router.insert(path.as_str(), ());
    }
    router
}

impl Listener {
    /// Whether a WebSocket could be opened at this path.
    pub fn is_socket(&self, path: &str) -> bool {
        let trimmed = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(path);
        self.sockets.at(trimmed).is_ok()
    }
}

fn reserved(pattern: &str) -> bool {
    let Some(word) = pattern.strip_prefix("/api/") else { return false };
    let word = word.strip_prefix("connections/").map_or(word, |_| "connections");
    word == "batch" || Verb::parse(word).is_some()
}
