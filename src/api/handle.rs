//! A request's way: Weir's own paths, then routes, then not found.

use super::State;
use super::access::TestCaller;
use super::admin::{Admin, admin};
use super::answers::{Alive, Failed, Readiness, ReadyStatus};
use super::app::AppHttp;
use super::args::Args;
use super::call::Call;
use super::fail::{Fail, Why, json, reply, reply_json};
use super::gateway::Gateway;
use super::json::members;
use super::keys::ApiKey;
use super::once::Answer;
use super::operation::{Audience, Operation};
use super::request::{Known, Request};
use super::run::run;
use super::serve::serve;
use super::site::{Listener, Site};
use super::verb::Verb;
use crate::flow::{App, Generation};
use crate::kernel::Caller;
use crate::model::memory::Kind;
use crate::model::percent_decode;
use crate::observe::{Metrics, Via};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;

/// All answers of one batch. Beyond: a command's answer is `too_large`; what it did stays done.
const BATCH_ANSWER_BYTES: usize = 8 << 20;
/// Commands of one batch.
pub(super) const BATCH_MAX: usize = 1_000;
/// The media type of `/metrics`.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What requests are answered with. Cheap to clone; `site` is the generation's that a request starts with.
#[derive(Clone)]
pub struct Context<G> {
    pub site: Arc<Site>,
    pub generation: Arc<Generation>,
    pub state: Arc<State>,
    pub gateway: G,
    pub metrics: Arc<Metrics>,
    /// Why Weir is not ready: `draining`, tasks that are down. Empty: it is.
    pub not_ready: Arc<[String]>,
    /// `None`: there are no files to read again.
    pub admin: Option<Arc<dyn Admin>>,
}

impl<G> Context<G> {
    pub(super) fn app(&self, app: &AppHttp) -> Result<&Arc<App>, Fail> {
        self.generation.by_name(&app.name).ok_or_else(Fail::not_found)
    }
}

/// Answers one request. Never fails: what goes wrong is the answer.
pub async fn handle<G: Gateway>(context: &Context<G>, request: Request) -> Response<Full<Bytes>> {
    let started = Instant::now();
    let (verb, response) = answer(context, &request).await;
    context.metrics.http(request.method.as_str(), response.status().as_u16(), verb, started.elapsed());
    response
}

/// Answers a request to a route of `app`, whichever listener it is on, as if `caller` asked. `None`: it has no such route.
pub async fn rehearse<G: Gateway>(
    context: &Context<G>,
    app: &str,
    request: &Request,
    caller: &TestCaller,
) -> Option<Response<Full<Bytes>>> {
    match context.site.route_of(app, request.method(), &request.path)? {
        Ok(matched) => Some(serve(context, request, &matched, Some(caller)).await),
        Err(fail) => Some(fail.response()),
    }
}

/// The metrics' word for what was asked, and the answer.
async fn answer<G: Gateway>(context: &Context<G>, request: &Request) -> (&'static str, Response<Full<Bytes>>) {
    let site = &context.site;
    let Some(listener) = site.listener(&request.listener) else { return ("unknown", Fail::not_found().response()) };
    let asked = Operation::at(&request.path);
    if let Some((operation, id)) = asked.filter(|(operation, _)| operation.audience() == Audience::BackEnds) {
        return (operation.as_str(), answered(operation, api(context, request, listener, operation, id).await));
    }
    match site.route(listener, request.method(), &request.path) {
        Ok(Some(matched)) => return ("route", serve(context, request, &matched, None).await),
        Ok(None) => {}
        Err(fail) => return ("route", fail.response()),
    }
    // Figures and states tell too much for the public.
    if listener.admin
        && let Some((operation, _)) = asked
        && let Some(response) = operate(context, request, operation).await
    {
        return (operation.as_str(), response);
    }
    if listener.is_socket(&request.path) {
        return ("unknown", Fail::new(Why::UpgradeRequired, "A WebSocket is at this path").response());
    }
    let not_found = site.only_app(listener).and_then(|app| app.errors.find(Why::NotFound));
    let response = match not_found {
        Some((status, body)) => reply(status, "application/json", body),
        None => Fail::not_found().response(),
    };
    ("unknown", response)
}

/// What an operation came to, as a response.
fn answered(operation: Operation, answer: Answer) -> Response<Full<Bytes>> {
    match answer {
        Ok(json) => reply(200, "application/json", json.into()),
        Err(fail) => {
            let told = fail.why == Why::MethodNotAllowed || operation.fails().contains(&fail.why);
            debug_assert!(told, "{operation:?} answers {:?}, which its table does not have", fail.why);
            fail.response()
        }
    }
}

/// Answers what admin listeners alone have. `None`: there are no files to read again.
async fn operate<G>(context: &Context<G>, request: &Request, operation: Operation) -> Option<Response<Full<Bytes>>> {
    if operation.audience() == Audience::Operators {
        let files = context.admin.as_deref()?;
        return Some(answered(
            operation,
            match expect(request, operation.method()) {
                Ok(()) => admin(context, files, request, operation).await,
                Err(fail) => Err(fail),
            },
        ));
    }
    if let Err(fail) = expect(request, operation.method()) {
        return Some(fail.response());
    }
    Some(match operation {
        Operation::Metrics => reply(200, METRICS, context.metrics.text().into()),
        Operation::Ready => ready(context),
        _ => reply_json(200, &Alive { status: "ok".into() }),
    })
}

/// A source that is down does not take the whole gateway out of service: those who need none of it are served, and all
/// others are told to come back. What is missing, and why, is said.
fn ready<G>(context: &Context<G>) -> Response<Full<Bytes>> {
    if !context.not_ready.is_empty() {
        let reasons = Some(context.not_ready.to_vec());
        return reply_json(503, &Readiness { status: ReadyStatus::NotReady, degraded: None, reasons });
    }
    let degraded = Some(context.generation.troubles()).filter(|troubles| !troubles.is_empty());
    reply_json(200, &Readiness { status: ReadyStatus::Ready, degraded, reasons: None })
}

fn expect(request: &Request, method: Method) -> Result<(), Fail> {
    match *request.method() == method {
        true => Ok(()),
        false if method == Method::GET => Err(Fail::method(&["GET", "HEAD"])),
        false => Err(Fail::method(&[method.as_str()])),
    }
}

async fn api<G: Gateway>(
    context: &Context<G>,
    request: &Request,
    listener: &Listener,
    operation: Operation,
    connection: Option<&str>,
) -> Answer {
    expect(request, operation.method())?;
    let key = context.required_key(request)?;
    let verb = match operation {
        Operation::Verb(verb) => verb,
        Operation::Connection => Verb::Connections,
        _ => return batch(context, key, request, listener).await,
    };
    let mut args = match verb.reads() {
        true => Args::of_query(&request.query)?,
        false => Args::of_body(request.body.read(Known::Yes).await?)?,
    };
    if let Some(id) = connection {
        args.put("connection", percent_decode(id).ok_or_else(Fail::not_found)?)?;
    }
    let named = args.text("app")?;
    let app = context.site.app(listener, named.as_deref(), key)?;
    let body = if verb.reads() { &[][..] } else { request.body.read(Known::Yes).await? };
    let answer = one(context, key, app, verb, args, body, request).await;
    if named.is_some() || listener.is_of_one() { answer } else { with_app(answer, &app.name) }
}

/// Who named no app, where there are several, reads which one it was: also where that one knows no such channel.
fn with_app(answer: Answer, app: &str) -> Answer {
    let name = json(&app);
    match answer {
        Ok(json) => Ok(match json.strip_prefix('{') {
            Some("}") => format!("{{\"app\":{name}}}"),
            Some(members) => format!("{{\"app\":{name},{members}"),
            None => json,
        }),
        Err(fail) => Err(Fail { app: Some(app.into()), ..fail }),
    }
}

/// One call of a key: on its own, or one of a batch. `body`: what an idempotency key stands for.
async fn one<G: Gateway>(
    context: &Context<G>,
    key: &ApiKey,
    app: &AppHttp,
    verb: Verb,
    mut args: Args<'_>,
    body: &[u8],
    request: &Request,
) -> Answer {
    let (scope, by) = key.allows(&app.name, Some(verb))?;
    let once = if verb.reads() { None } else { args.text("idempotency_key")? };
    let call = Call::read(verb, &mut args)?;
    args.finish()?;
    let (generation, app) = (context.generation.clone(), context.app(app)?.clone());
    let caller = Caller { generation, app, scope, via: Via::Api, name: by };
    // A future of its own: what has a key goes on when its request is gone.
    let (gateway, id) = (context.gateway.clone(), caller.app.id);
    let work = async move { run(&gateway, &caller, call).await.map(|done| done.to_json()) };
    match once {
        None => work.await,
        Some(once) => context.state.once.run(key.owner(), (id, verb, once), body, request.now.mono, work).await,
    }
}

/// Commands one after another; each has its own answer.
async fn batch<G: Gateway>(context: &Context<G>, key: &ApiKey, request: &Request, listener: &Listener) -> Answer {
    let mut args = Args::of_body(request.body.read(Known::Yes).await?)?;
    let app = args.text("app")?;
    let commands = args.raw("commands")?.ok_or_else(|| Fail::body("`commands` is required"))?;
    args.finish()?;
    let commands: Vec<&RawValue> =
        serde_json::from_str(commands.get()).map_err(|_| Fail::body("`commands` must be a list"))?;
    if commands.len() > BATCH_MAX {
        return Err(Fail::new(Why::TooLarge, format!("A batch has at most {BATCH_MAX} commands")));
    }
    let mut is_full = false;
    let mut replies = String::from("{\"replies\":[");
    let mut taken = context.metrics.memory.callers.reserve(Kind::Http, 0).ok_or_else(no_room)?;
    for command in commands {
        let reply = match command_of(command) {
            // Without room for its answer a question is not asked.
            Ok((verb, _)) if verb.reads() && is_full => Err(no_room()),
            Ok((verb, inner)) => {
                let reply = in_batch(context, key, listener, app.as_deref(), verb, inner, request).await;
                reply.map(|json| format!("{{\"{}\":{json}}}", verb.as_str()))
            }
            Err(fail) => Err(fail),
        };
        let reply = reply.and_then(|json| {
            let bytes = replies.len() + json.len();
            match bytes <= BATCH_ANSWER_BYTES && taken.resize(2 * bytes) {
                true => Ok(json),
                false => {
                    is_full = true;
                    Err(no_room())
                }
            }
        });
        if !replies.ends_with('[') {
            replies.push(',');
        }
        replies.push_str(&reply.unwrap_or_else(|fail| json(&Failed { error: fail.problem() })));
    }
    replies.push_str("]}");
    Ok(replies)
}

/// What was asked was done; its answer is too much beside the others.
fn no_room() -> Fail {
    Fail::new(
        Why::TooLarge,
        format!("The answers of a batch have {BATCH_ANSWER_BYTES} bytes at most, and as much memory as is free"),
    )
}

fn command_of(command: &RawValue) -> Result<(Verb, &RawValue), Fail> {
    const SHAPE: &str = "a command is an object with one verb, such as {\"publish\": {…}}";
    match &members(command.get()).map_err(|_| Fail::body(SHAPE))?[..] {
        [(word, inner)] => match Verb::parse(word) {
            Some(verb) => Ok((verb, *inner)),
            None => Err(Fail::body(format!("unknown verb `{}`", word.escape_debug()))),
        },
        _ => Err(Fail::body(SHAPE)),
    }
}

async fn in_batch<G: Gateway>(
    context: &Context<G>,
    key: &ApiKey,
    listener: &Listener,
    app: Option<&str>,
    verb: Verb,
    inner: &RawValue,
    request: &Request,
) -> Answer {
    // A command's place in its own text would mislead: lines are the batch's.
    let mut args = Args::of_json(inner.get()).map_err(|fail| Fail { position: None, ..fail })?;
    let named = args.text("app")?;
    let named = named.as_deref().or(app);
    let app = context.site.app(listener, named, key)?;
    let answer = one(context, key, app, verb, args, inner.get().as_bytes(), request).await;
    if named.is_some() || listener.is_of_one() { answer } else { with_app(answer, &app.name) }
}
