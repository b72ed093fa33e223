//! Requests against a gateway that only writes down what it is asked.

mod fake;
mod faults;
mod openapi;
mod routes;
mod verbs;

use super::*;
use crate::auth::{Authenticator, Fetcher, Keys as AuthKeys, Tables};
use crate::flow::{App, Generation};
use crate::model::{AppId, Now, Problem, Secret, SecretSource};
use crate::observe::{LogNames, Metrics};
use crate::policy::{ChannelSettings, Policy};
use bytes::Bytes;
use fake::Fake;
use http_body_util::BodyExt;
use hyper::{Method, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: u64 = 1_704_623_400_000;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Every secret is its own name.
fn resolve(source: &SecretSource, _: crate::auth::Purpose) -> Result<Secret, String> {
    match source {
        SecretSource::Env(name) if name == "UNSET" => Err("`UNSET` is not set".into()),
        SecretSource::Env(name) if name == "EMPTY" => Ok(Secret::new(&b""[..])),
        SecretSource::Env(name) | SecretSource::File(name) => Ok(Secret::new(name.as_bytes())),
    }
}

/// One app's files.
struct Files {
    name: &'static str,
    endpoints: Value,
    routes: Value,
    errors: Value,
    channels: Value,
}

struct Made {
    auths: BTreeMap<String, Arc<Authenticator>>,
    tables: Tables,
}

fn made() -> Made {
    let fetcher = Fetcher::new(tokio::runtime::Handle::current());
    let keys = read(json!({ "jwt": { "algorithms": ["HS256"], "secret": { "env": "JWT" } } }));
    let keys = AuthKeys::compile(&keys, &resolve, &fetcher, None).unwrap();
    let rows =
        json!({ "u1": { "role": "sales_staff", "clinicId": "c1" }, "admin": { "role": "admin", "clinicId": "c2" } });
    let tables = read(json!({ "users": { "rows": rows } }));
    let tables = Tables::compile(&tables, &|_| Err("no files".into()), &resolve, &fetcher, None).unwrap();
    let settings: BTreeMap<String, crate::auth::Settings> = read(json!({
        "session": { "type": "jwt", "keys": ["jwt"], "from": ["bearer"], "user": ["sub"], "table": "users" },
        "cookie": { "type": "jwt", "keys": ["jwt"], "from": ["cookie:sid", "bearer"], "user": ["sub"], "table": "users" },
        "hmac": { "type": "hmac", "secret": { "env": "HMAC" }, "from": ["query:token"] },
    }));
    let auths = settings.iter().map(|(name, s)| {
        let auth = Authenticator::compile(name, s, &keys, &tables, &resolve).unwrap();
        (name.clone(), Arc::new(auth))
    });
    Made { auths: auths.collect(), tables }
}

fn compile(files: &Files, made: &Made, development: bool) -> Result<AppHttp, Vec<Problem>> {
    let endpoints: Vec<(String, String)> = read(files.endpoints.clone());
    let settings: serde_json::Map<String, Value> =
        read(json!({ "ws_url": "ws://localhost:{listener.port}", "test_user": "", "rooms": { "most": 9 } }));
    let routes: Vec<RouteSettings> = read(files.routes.clone());
    let errors: BTreeMap<String, ErrorReply> = read(files.errors.clone());
    let parts = AppParts {
        name: files.name,
        listener: Some("clinic"),
        origins: None,
        endpoints: endpoints.iter().map(|(l, p)| (l.as_str(), p.as_str())).collect(),
        routes: &routes,
        errors: &errors,
        settings: &settings,
        auths: &made.auths,
        tables: &made.tables,
        script: None,
    };
    AppHttp::compile(parts, &Surroundings { development, resolve: &resolve })
}

fn files(routes: Value, errors: Value) -> [Files; 3] {
    let channels = json!([{ "name": "clinic:{clinicId}:queue" }, { "name": "system:{topic}" }]);
    let clinic =
        Files { name: "clinic", endpoints: json!([["clinic", "/{*any}"]]), routes, errors, channels: channels.clone() };
    let app = |name, path| Files {
        name,
        endpoints: json!([["main", path]]),
        routes: json!([]),
        errors: json!({}),
        channels: channels.clone(),
    };
    [clinic, app("reports", "/ws"), app("tenant", "/t")]
}

fn site(listeners: &[(&str, bool, Option<&str>)], files: &[Files], development: bool) -> Arc<Site> {
    let made = made();
    let https = files.iter().map(|f| compile(f, &made, development).unwrap()).collect();
    let keys = read(json!({
        "default": { "secret": { "env": "KEY" } },
        "queue": { "secret": { "env": "QUEUE" }, "apps": ["clinic"], "verbs": ["publish", "broadcast", "channels"], "channels": ["clinic:*:queue"] },
        "narrow": { "secret": { "env": "NARROW" }, "channels": ["clinic:*:queue"] },
    }));
    let keys = Keys::compile(&keys, &["clinic", "reports", "tenant"], &resolve).unwrap();
    let pages = Pages { general: crate::model::Origins::parse(&["*".into()]).unwrap(), development };
    Arc::new(Site::compile(listeners, keys, pages, https).unwrap())
}

/// The same apps on other listeners.
fn site_with(listeners: &[(&str, bool, Option<&str>)]) -> Arc<Site> {
    site(listeners, &files(json!([]), json!({})), true)
}

/// A clinic on a listener of its own, and two apps that share one.
fn context(routes: Value, errors: Value, development: bool) -> Context<Fake> {
    let files = files(routes, errors);
    let made = made();
    let listeners = [("admin", true, None), ("clinic", false, None), ("main", false, None)];
    let site = site(&listeners, &files, development);
    let apps = files.iter().enumerate().map(|(id, files)| {
        let channels: Vec<ChannelSettings> = read(files.channels.clone());
        Some(Arc::new(App {
            id: AppId(id as u16),
            name: files.name.into(),
            endpoints: Vec::new(),
            policy: Arc::new(Policy::compile(&channels, &[], &|path| path.to_owned()).unwrap()),
            classes: Arc::new([]),
            limits: Default::default(),
            settings: Default::default(),
            log: LogNames::default(),
            tables: Arc::new(made.tables.clone()),
            rules: [0; 32],
            handlers: None,
            keeps_requests: false,
        }))
    });
    let generation = Generation {
        number: 1,
        digest: String::new(),
        development,
        limits: Default::default(),
        revoke: Default::default(),
        listeners: Vec::new(),
        keys: Default::default(),
        apps: apps.collect(),
    };
    let metrics = Metrics::new();
    metrics.app(AppId(0), "clinic");
    Context {
        site,
        generation: Arc::new(generation),
        state: Arc::default(),
        gateway: Fake::default(),
        metrics,
        not_ready: [].into(),
        admin: None,
    }
}

fn plain() -> Context<Fake> {
    context(json!([]), json!({}), true)
}

/// `clinic POST /api/publish?x=1`, headers, body.
fn request(line: &str, headers: &[(&'static str, &str)], body: &str) -> Request {
    let mut words = line.split(' ');
    let (listener, method) = (words.next().unwrap(), words.next().unwrap());
    let target = words.next().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: path.into(),
        query: query.into(),
        headers: headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect(),
        body: Body::whole(Bytes::copy_from_slice(body.as_bytes())),
        ip: "192.0.2.1".parse().unwrap(),
        listener: listener.into(),
        port: 3001,
        now: Now::at(NOW),
    }
}

async fn told(response: Response<http_body_util::Full<Bytes>>) -> (u16, String) {
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

async fn ask(context: &Context<Fake>, line: &str, headers: &[(&'static str, &str)], body: &str) -> (u16, Value) {
    let (status, text) = told(handle(context, request(line, headers, body)).await).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

const KEY: (&str, &str) = ("authorization", "Bearer KEY");
