//! What is served where: listeners, the apps on them, and their routes.

use super::app::AppHttp;
use super::fail::{Fail, Why};
use super::keys::{ApiKey, Keys};
use super::operation::{Audience, Operation};
use super::origin::Pages;
use super::route::Route;
use crate::model::{Problem, canonical_path, one_of, percent_decode};
use hyper::Method;
use matchit::Router;
use std::collections::{BTreeMap, HashMap};

/// The HTTP surface of one generation.
pub struct Site {
    pub(super) keys: Keys,
    pub(super) pages: Pages,
    pub(super) apps: Vec<AppHttp>,
    listeners: HashMap<String, Listener>,
}

#[derive(Default)]
pub(super) struct Listener {
    pub admin: bool,
    /// Places in `Site::apps`. All of them on an admin listener.
    pub apps: Vec<usize>,
    /// Whom a call is for that names no app: one that `gateway.toml` names, or one that is alone here.
    default: Option<usize>,
    /// The routes of a pattern together: a router takes each pattern once.
    router: Router<Vec<Spot>>,
    /// Paths of endpoints: only WebSockets are there.
    sockets: Router<()>,
}

/// Where a route is: `apps[app].routes[route]`.
#[derive(Clone)]
struct Spot {
    method: Method,
    app: usize,
    route: usize,
}

/// A route that a request is for, and the values of its path's variables.
pub(super) struct Matched<'s> {
    pub app: &'s AppHttp,
    pub route: &'s Route,
    pub vars: Vec<(String, String)>,
}

impl Site {
    /// `listeners`: names, whether they are `admin`, and the app that they are for. `apps`: in the order of their files.
    /// Err: problems with the name of the app whose file has them; routes that overlap.
    pub fn compile(
        listeners: &[(&str, bool, Option<&str>)],
        keys: Keys,
        pages: Pages,
        apps: Vec<AppHttp>,
    ) -> Result<Site, Vec<(String, Problem)>> {
        let mut problems = Vec::new();
        let made = listeners.iter().map(|(name, admin, app)| {
            let here = |app: &AppHttp| app.endpoints.iter().any(|(listener, _)| listener == name);
            let routed = |app: &AppHttp| app.routes.iter().any(|r| r.listener == *name);
            let mut on: Vec<usize> = (0..apps.len()).filter(|i| here(&apps[*i])).collect();
            on.extend((0..apps.len()).filter(|i| !here(&apps[*i]) && (*admin || routed(&apps[*i]))));
            let endpoints = apps.iter().flat_map(|a| &a.endpoints).filter(|(l, _)| l == name);
            let sockets = sockets(endpoints.map(|(_, path)| path));
            let router = router(name, &apps, &mut problems);
            // Never the first of several: which one that is, another file decides, and calls would go elsewhere.
            let named = app.and_then(|app| on.iter().copied().find(|i| *apps[*i].name == *app));
            let default = named.or(if let [only] = on[..] { Some(only) } else { None });
            ((*name).to_owned(), Listener { admin: *admin, apps: on, default, router, sockets })
        });
        let listeners = made.collect();
        if problems.is_empty() { Ok(Site { keys, pages, apps, listeners }) } else { Err(problems) }
    }

    pub(super) fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.get(name)
    }

    /// The route for a request; `Ok(None)` where no path matches.
    pub(super) fn route(&self, listener: &Listener, method: &Method, path: &str) -> Result<Option<Matched<'_>>, Fail> {
        let path = canonical_path(path);
        // As it is first: a path's last variable may take a slash at its end for its own.
        let found = listener.router.at(&path).or_else(|_| listener.router.at(trimmed(&path)));
        let Ok(found) = found else { return Ok(None) };
        let Some(spot) = found.value.iter().find(|spot| spot.method == *method) else {
            let mut allow: Vec<&str> = found.value.iter().map(|spot| spot.method.as_str()).collect();
            if allow.contains(&"GET") {
                allow.push("HEAD");
            }
            return Err(Fail::method(&allow));
        };
        let (app, mut vars) = (&self.apps[spot.app], Vec::new());
        let route = &app.routes[spot.route];
        for (name, (_, value)) in route.vars.iter().zip(found.params.iter()) {
            let Some(value) = percent_decode(value) else { return Ok(None) };
            vars.push((name.clone(), value.into_owned()));
        }
        Ok(Some(Matched { app, route, vars }))
    }

    /// As `route`, on whichever listener an app has it; another app's routes are not there.
    pub(super) fn route_of(&self, app: &str, method: &Method, path: &str) -> Option<Result<Matched<'_>, Fail>> {
        let found = self.listeners.values().filter_map(|listener| self.route(listener, method, path).transpose());
        let mut refused = None;
        for found in found {
            match found {
                Ok(matched) if *matched.app.name == *app => return Some(Ok(matched)),
                Ok(_) => {}
                Err(fail) => refused = Some(Err(fail)),
            }
        }
        refused
    }

    /// Whom calls without an app's name are for, by listener.
    pub fn default_apps(&self) -> BTreeMap<&str, Option<&str>> {
        let default = |listener: &Listener| listener.default.map(|at| &*self.apps[at].name);
        self.listeners.iter().map(|(name, listener)| (name.as_str(), default(listener))).collect()
    }

    /// The app of a verb. Without a name: the listener's own, or the only one here that the key covers.
    pub(super) fn app(&self, listener: &Listener, name: Option<&str>, key: &ApiKey) -> Result<&AppHttp, Fail> {
        let apps = || listener.apps.iter().map(|at| &self.apps[*at]);
        let covered = || apps().filter(|app| key.covers_app(&app.name));
        let names = || one_of(apps().map(|app| &*app.name));
        match name {
            Some(name) => apps()
                .find(|app| &*app.name == name)
                .ok_or_else(|| Fail::new(Why::UnknownApp, format!("`app`: one of {} is here", names()))),
            None => match listener.default.map(|at| &self.apps[at]).filter(|app| key.covers_app(&app.name)) {
                Some(app) => Ok(app),
                None if covered().count() > 1 => Err(Fail::body(format!("`app` is required here: {}", names()))),
                None => covered().next().ok_or_else(|| Fail::new(Why::Forbidden, "The key covers no app that is here")),
            },
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

/// The routes on a listener, but those that overlap or are the API's own.
fn router(listener: &str, apps: &[AppHttp], problems: &mut Vec<(String, Problem)>) -> Router<Vec<Spot>> {
    let mut patterns: Vec<(&str, Vec<Spot>)> = Vec::new();
    let mut tell = |spot: &Spot, what: String, instead: &str| {
        let path = format!("route[{}].{}", spot.route, spot.method.as_str().to_lowercase());
        problems.push((apps[spot.app].name.to_string(), Problem::new(path, what).expected(instead)));
    };
    for (a, app) in apps.iter().enumerate() {
        for (r, route) in app.routes.iter().enumerate().filter(|(_, r)| r.listener == listener) {
            let spot = Spot { method: route.method.clone(), app: a, route: r };
            if is_own(&route.pattern) {
                tell(&spot, format!("`{}` is a path of the HTTP API's own", route.pattern), "another path");
                continue;
            }
            let Some((_, others)) = patterns.iter_mut().find(|(p, _)| *p == route.pattern) else {
                patterns.push((&route.pattern, vec![spot]));
                continue;
            };
            match others.iter().find(|other| other.method == spot.method) {
                None => others.push(spot),
                Some(other) => {
                    let of = if other.app == a { String::new() } else { format!(" of app `{}`", apps[other.app].name) };
                    let what = format!("`{}` is route[{}]{of} already", route.name, other.route);
                    tell(&spot, what, "one route for it");
                }
            }
        }
    }
    let mut router = Router::new();
    for (pattern, spots) in patterns {
        let first = spots[0].clone();
        if let Err(error) = router.insert(pattern, spots) {
            let name = &apps[first.app].routes[first.route].name;
            tell(&first, format!("`{name}` overlaps another route: {error}"), "another path");
        }
    }
    router
}

/// Catch-alls are left out: nothing but a WebSocket would ever be not found there.
fn sockets<'p>(paths: impl Iterator<Item = &'p String>) -> Router<()> {
    let mut router = Router::new();
    for path in paths.filter(|p| !p.contains("{*")) {
        // The same path twice, told apart by something else, is one path here.
        let path = canonical_path(path);
        let _ = router.insert(trimmed(&path), ());
    }
    router
}

impl Listener {
    /// Nobody else could be meant here.
    pub fn is_of_one(&self) -> bool {
        self.apps.len() == 1
    }

    /// Whether a WebSocket could be opened at this path.
    pub fn is_socket(&self, path: &str) -> bool {
        self.sockets.at(trimmed(&canonical_path(path))).is_ok()
    }
}

/// Without a slash at its end; `/` itself stays.
fn trimmed(path: &str) -> &str {
    path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(path)
}

/// Whether a path, or a route's pattern, is one of the API's own: `/api/publish`.
pub fn is_own(pattern: &str) -> bool {
    pattern.starts_with("/api/connections/")
        || Operation::at(pattern).is_some_and(|(operation, _)| operation.audience() == Audience::BackEnds)
}
