//! What the tests of this room share: services that answer when they are told to, and a store whose writes are seen.

mod deliver;
mod endure;
mod settings;

use super::*;
use crate::auth::{Roots, Trust};
use crate::model::{Millis, Ms, Secret, SecretSource, Size};
use crate::observe::Metrics;
use crate::store::{self, Done, Driver, Parcel, Store, StoreError, Timer, Write};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Far longer than any test takes.
const LONG: Duration = Duration::from_secs(40);

/// What does not come is a failure with a name, not a test without an end.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, event).await.expect("it does not come")
}

fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// `{ env = "X" }` is the text `X` itself; a file is never there.
fn resolve(from: &SecretSource, _: crate::auth::Purpose) -> Result<Secret, String> {
    match from {
        SecretSource::Env(text) => Ok(Secret::new(text.as_bytes())),
        SecretSource::File(name) => Err(format!("{name} does not exist")),
    }
}

/// A webhook for tests: it tries again at once.
fn webhook(url: &str, more: Value) -> Arc<Webhook> {
    let mut settings = json!({ "url": url, "timeout": "50s", "retry": { "first": "1ms", "max": "1ms" } });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Arc::new(compile(&serde_json::from_value(settings).unwrap(), &resolve).unwrap())
}

/// Of the app `clinic`.
fn in_force<const N: usize>(webhooks: [(&str, Arc<Webhook>); N]) -> Webhooks {
    let of_app = webhooks.into_iter().map(|(name, webhook)| (name.into(), webhook)).collect();
    BTreeMap::from([("clinic".into(), of_app)])
}

fn parcel(id: u128, webhook: &str) -> Parcel {
    let (created_at, body) = (now(), format!("{{\"n\":{id},\"ö\":\"<&>\"}}"));
    Parcel { id, app: "clinic".into(), webhook: webhook.into(), body, created_at, attempts: 0, due: created_at }
}

/// A service inside the test: every request waits until the test answers it.
struct Service {
    url: String,
    asked: mpsc::UnboundedReceiver<Asked>,
}

struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
    reply: oneshot::Sender<Response<Full<Bytes>>>,
}

impl Asked {
    fn answer(self, status: u16) {
        self.answer_with(status, &[], "");
    }

    fn answer_with(self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        headers.iter().for_each(|(name, value)| drop(response.headers_mut().insert(*name, value.parse().unwrap())));
        // Nobody may wait for it any more.
        let _ = self.reply.send(response);
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn id(&self) -> u128 {
        uuid::Uuid::parse_str(self.header("webhook-id")).unwrap().as_u128()
    }
}

impl Service {
    async fn start() -> Service {
        Service::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn on(listener: TcpListener) -> Service {
        let url = format!("http://{}/hook?to=weir", listener.local_addr().unwrap());
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                let service = service_fn(move |request| serve(request, tell.clone()));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Service { url, asked }
    }

    async fn next(&mut self) -> Asked {
        soon(self.asked.recv()).await.unwrap()
    }

    /// Whether nothing was asked that the test has not seen.
    fn is_idle(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

async fn serve(
    request: Request<hyper::body::Incoming>,
    tell: mpsc::UnboundedSender<Asked>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (reply, answered) = oneshot::channel();
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let asked = Asked {
        method: head.method,
        path: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8(body.into()).unwrap(),
        reply,
    };
    let _ = tell.send(asked);
    // A request that the test lets go is never answered.
    match answered.await {
        Ok(response) => Ok(response),
        Err(_) => std::future::pending().await,
    }
}

/// A store whose writes can be seen once they are kept, and which can be busy.
struct Seen {
    store: Arc<dyn Store>,
    kept: mpsc::UnboundedSender<Write>,
    /// So many commits are refused.
    busy: AtomicUsize,
}

impl Store for Seen {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        self.store.get(app, key, now)
    }
    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        self.store.keys(app, prefix, limit, now)
    }
    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        self.store.entity(app, entity)
    }
    fn commit(&self, writes: Vec<Write>, done: Done) {
        let is_busy = self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if is_busy {
            return done(Err(StoreError::Busy));
        }
        let (kept, seen) = (self.kept.clone(), writes.clone());
        let tell = move |result: Result<(), StoreError>| {
            let was_kept = result.is_ok();
            done(result);
            if was_kept {
                seen.into_iter().for_each(|write| drop(kept.send(write)));
            }
        };
        self.store.commit(writes, Box::new(tell));
    }
    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        self.store.timers()
    }
    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        self.store.outbox()
    }
    fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        self.store.sweep(now)
    }
}

/// A sender and its store.
struct Scene {
    post: Post,
    store: Arc<Seen>,
    kept: mpsc::UnboundedReceiver<Write>,
    metrics: Arc<Metrics>,
}

impl Scene {
    /// In memory.
    fn new(webhooks: &Webhooks) -> Scene {
        Scene::with(Driver::Memory, Path::new(""), webhooks)
    }

    /// Starts as the process does: with what the outbox holds.
    fn with(driver: Driver, folder: &Path, webhooks: &Webhooks) -> Scene {
        let settings = store::Settings { driver, ..store::Settings::default() };
        let (seen, kept) = mpsc::unbounded_channel();
        let inner = store::open(&settings, folder, None).unwrap();
        let store = Arc::new(Seen { store: inner, kept: seen, busy: AtomicUsize::new(0) });
        let metrics = Metrics::new();
        let post = Post::new(&Handle::current(), store.clone(), metrics.clone(), &Trust::new(&Roots::default()));
        post.set_generation(webhooks);
        post.start(store.outbox().unwrap());
        Scene { post, store, kept, metrics }
    }

    /// As a handler does: into the outbox, and once it is there, the sender is told.
    async fn send(&mut self, parcel: Parcel) {
        let (done, told) = oneshot::channel();
        let write = Write::Parcel(parcel.clone());
        self.store.store.commit(vec![write], Box::new(move |result| drop(done.send(result))));
        told.await.unwrap().unwrap();
        self.post.sent(parcel);
    }

    /// What the sender had kept next.
    async fn kept(&mut self) -> Write {
        soon(self.kept.recv()).await.unwrap()
    }

    fn metric(&self, line: &str) -> Option<String> {
        let text = self.metrics.text();
        text.lines().find_map(|l| l.strip_prefix(line)).map(|value| value.trim().to_string())
    }

    fn count(&self, webhook: &str, result: &str) -> String {
        let labels = format!("{{app=\"clinic\",result=\"{result}\",webhook=\"{webhook}\"}}");
        self.metric(&format!("weir_webhook_deliveries_total{labels}")).unwrap()
    }

    /// Waits until so many parcels are pending: a parcel leaves the sender's hands a moment after it leaves the outbox.
    async fn pending(&self, webhook: &str, parcels: &str) {
        let line = format!("weir_webhook_pending{{app=\"clinic\",webhook=\"{webhook}\"}}");
        let until = async {
            while self.metric(&line).unwrap() != parcels {
                tokio::task::yield_now().await;
            }
        };
        soon(until).await;
    }
}
