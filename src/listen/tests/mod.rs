//! Real sockets on port 0 against `serve`, with a door that only takes and an API that only echoes.

mod handshake;
mod http;
mod transport;

use super::*;
use crate::api::Known;
use crate::auth::{Authenticator, Fetcher, Keys, Tables};
use crate::dialect::Dialect;
use crate::flow::{App, AppLimits, Endpoint, Generation, Limits};
use crate::kernel::Counts;
use crate::model::{AppId, Close, Millis, Now, Secret};
use crate::observe::Metrics;
use crate::policy::Policy;
use crate::shard::{Closed, Door, NewConnection};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

const NOW: Millis = 1_704_623_400_000;
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const WS: &str = "Host: weir.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

/// What a test changes of the usual settings.
struct Setup {
    listener: Value,
    http: Value,
    limits: Limits,
    app_limits: AppLimits,
    development: bool,
    closed: Option<Closed>,
    base: Option<Box<Path>>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            listener: json!({ "address": "127.0.0.1:0" }),
            http: json!({}),
            limits: Limits { attempts_loopback: false, ..Limits::default() },
            app_limits: AppLimits::default(),
            development: false,
            closed: None,
            base: None,
        }
    }
}

/// A listener with two apps: 0 takes anybody at `/ws`, 1 takes tenants there and members only at `/members`.
struct House {
    address: SocketAddr,
    adopted: mpsc::UnboundedReceiver<NewConnection>,
    context: Arc<Context>,
    keys: Keys,
    drain: watch::Sender<bool>,
}

struct TestDoor(mpsc::UnboundedSender<NewConnection>, Cell<Option<Closed>>);

impl Door for TestDoor {
    fn closed(&self) -> Option<Closed> {
        self.1.get()
    }
    fn adopt(&self, connection: NewConnection) {
        let _ = self.0.send(connection);
    }
}

struct EchoApi;

impl Api for EchoApi {
    fn handle(&self, r: ApiRequest, _: Arc<Front>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>> {
        let ApiRequest { method, path, query, ip, body, .. } = r;
        Box::pin(async move {
            // Who shows nothing has nothing read.
            if &*path == "/closed" {
                return super::respond::problem(hyper::StatusCode::UNAUTHORIZED, "who are you");
            }
            match body.read(Known::No).await {
                Ok(body) => {
                    let text = format!("{method} {path} {query} {ip} {}", String::from_utf8_lossy(body));
                    Response::new(Full::new(Bytes::from(text)))
                }
                Err(fail) => fail.response(),
            }
        })
    }
}

fn endpoints() -> [Vec<EndpointSettings>; 2] {
    let read = |value: Value| serde_json::from_value(value).unwrap();
    [
        read(json!([
            { "path": "/ws", "dialect": "echo", "auth": ["anybody"], "protocols": ["v2", "v1"] },
            { "path": "/late/{id}", "dialect": "echo", "auth": ["message"] },
        ])),
        read(json!([
            { "path": "/ws", "dialect": "echo", "auth": ["tenant"], "when": { "token": { "has": ["tenantId"] } } },
            { "path": "/members", "dialect": "echo", "auth": ["strict"], "origins": ["https://app.example"] },
        ])),
    ]
}

fn keys() -> Keys {
    let settings = json!({ "jwt": { "algorithms": ["HS256"], "secret": { "env": "X" } } });
    let resolve = |_: &_, _| Ok(Secret::new(*b"0123456789abcdef0123456789abcdef"));
    Keys::compile(&serde_json::from_value(settings).unwrap(), &resolve, &fetcher(), None).unwrap()
}

fn fetcher() -> Fetcher {
    Fetcher::new(tokio::runtime::Handle::current())
}

fn authenticator(name: &str, keys: &Keys) -> Arc<Authenticator> {
    let jwt = |more: Value| {
        let mut settings = json!({ "type": "jwt", "keys": ["jwt"], "user": ["userId"], "from": ["query:token"] });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let settings = match name {
        "anybody" => jwt(json!({ "missing": "anonymous", "failed": { "close": 1000, "reason": "failed" } })),
        "tenant" => jwt(json!({
            "missing": { "close": 4000, "reason": "no token" }, "failed": { "close": 4001, "reason": "bad tenant" }
        })),
        "strict" => jwt(json!({ "missing": "reject", "failed": "reject" })),
        _ => jwt(json!({ "from": ["query:token", "message"], "missing": { "close": 4000, "reason": "late" } })),
    };
    let settings = serde_json::from_value(settings).unwrap();
    let none = |_: &_, _| Err("no secret".to_owned());
    Arc::new(Authenticator::compile(name, &settings, keys, &Tables::default(), &none).unwrap())
}

fn app(number: u16, name: &str, endpoints: &[EndpointSettings], keys: &Keys, limits: &AppLimits) -> Arc<App> {
    let endpoint = |e: &EndpointSettings| Endpoint {
        key: e.path.as_str().into(),
        path: e.path.as_str().into(),
        dialect: Arc::new(Dialect::Echo),
        auth: e.auth.iter().map(|name| authenticator(name, keys)).collect(),
        subscribe: Vec::new(),
    };
    Arc::new(App {
        id: AppId(number),
        name: name.into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        policy: Arc::new(Policy::compile(&[], &[], &|_| String::new()).unwrap()),
        classes: Arc::new([]),
        limits: limits.clone(),
        settings: Default::default(),
        log: Default::default(),
        tables: Arc::new(Tables::default()),
        rules: [0; 32],
        handlers: None,
        keeps_requests: true,
    })
}

impl House {
    fn open(setup: Setup) -> House {
        let keys = keys();
        let endpoints = endpoints();
        let origins = ["https://app.example".to_owned()];
        let names = ["open", "tenants"];
        let of_apps: Vec<AppEndpoints> = (0..2)
            .map(|i| AppEndpoints {
                app: AppId(i as u16),
                name: names[i],
                listener: Some("main"),
                origins: (i == 1).then_some(&origins),
                endpoints: endpoints[i].iter().collect(),
            })
            .collect();
        let listener: ListenerSettings = serde_json::from_value(setup.listener).unwrap();
        let listeners = BTreeMap::from([("main".to_owned(), listener.clone())]);
        let http = serde_json::from_value(setup.http).unwrap();
        let base = setup.base.as_deref().unwrap_or(Path::new("."));
        let mut numbers = crate::listen::Numbers::new();
        crate::listen::number(&listeners, &mut numbers);
        let entrance = Entrance::compile(&listeners, &numbers, &http, &of_apps, base).ok().unwrap();
        let apps = (0..2).map(|i| Some(app(i as u16, names[i], &endpoints[i], &keys, &setup.app_limits))).collect();
        let (development, limits) = (setup.development, setup.limits);
        let (revoke, listeners) = (Default::default(), vec![true]);
        let generation = Generation {
            number: 1,
            digest: String::new(),
            development,
            limits,
            revoke,
            listeners,
            apps,
            keys: Keys::default(),
        };
        let site = Arc::new(
            crate::api::Site::compile(&[("main", false, None)], Default::default(), Default::default(), Vec::new())
                .ok()
                .unwrap(),
        );
        let front = Front { generation: Arc::new(generation), entrance: Arc::new(entrance), site };
        let (drain, draining) = watch::channel(false);
        let context = Arc::new(Context {
            front: Arc::new(ArcSwap::from_pointee(front)),
            api: Arc::new(EchoApi),
            counts: Counts::new(),
            places: Arc::default(),
            operators: Arc::default(),
            attempts: Arc::default(),
            metrics: Metrics::new(),
            draining,
            clock: || Now::at(NOW),
        });
        let (sender, adopted) = mpsc::unbounded_channel();
        let door = Rc::new(TestDoor(sender, Cell::new(setup.closed)));
        let socket = bind(&listener).unwrap();
        let address = socket.local_addr().unwrap();
        let serving = context.clone();
        let deliver = move |accepted| {
            tokio::task::spawn_local(serve(accepted, door.clone(), serving.clone()));
        };
        tokio::task::spawn_local(accept(socket, 0, false, deliver, |_| {}));
        House { address, adopted, context, keys, drain }
    }

    fn token(&self, claims: Value) -> String {
        self.keys.get("jwt").unwrap().sign(claims.as_object().unwrap()).unwrap()
    }

    async fn connect(&self) -> Client<TcpStream> {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Sends an upgrade to `target` with these further header lines; the response's head.
    async fn upgrade(&self, target: &str, lines: &str) -> (String, Client<TcpStream>) {
        let mut client = self.connect().await;
        client.send(&format!("GET {target} HTTP/1.1\r\n{WS}{KEY}{lines}\r\n")).await;
        (client.head().await, client)
    }

    /// What became of an upgrade: `101 app/endpoint user`, with the close that follows, or the status.
    async fn outcome(&mut self, target: &str, lines: &str) -> String {
        let (head, _client) = self.upgrade(target, lines).await;
        let status = status(&head);
        if status != 101 {
            return status.to_string();
        }
        let new = self.adopted.recv().await.unwrap();
        let who = match &new.newcomer.identity {
            None => "nobody yet",
            Some(identity) => identity.user.as_deref().unwrap_or("anonymous"),
        };
        match &new.newcomer.close_at_once {
            Some(Close { code, reason }) => {
                format!("101 {}/{} close {code} {reason}", new.newcomer.app.0, new.newcomer.endpoint)
            }
            None => format!("101 {}/{} {who}", new.newcomer.app.0, new.newcomer.endpoint),
        }
    }
}

struct Client<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// A response's head, in lower case; what follows stays for the next read.
    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap().to_ascii_lowercase();
            }
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "ended before a head");
        }
    }

    /// Status and body of a response with a length.
    async fn response(&mut self) -> (u16, String) {
        let head = self.head().await;
        let length: usize = header(&head, "content-length").map_or(0, |v| v.parse().unwrap());
        while self.read.len() < length {
            assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "ended inside a body");
        }
        let body: Vec<u8> = self.read.drain(..length).collect();
        (status(&head), String::from_utf8(body).unwrap())
    }

    /// Everything until the other side ends.
    async fn rest(mut self) -> String {
        self.stream.read_to_end(&mut self.read).await.unwrap();
        String::from_utf8(self.read).unwrap()
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

/// A newcomer is served, whatever happened before.
async fn still_answers(house: &House) {
    let mut client = house.connect().await;
    client.send("GET /newcomer HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.0, 200);
}
