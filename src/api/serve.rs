//! Answers a request that a route is for.

use super::access::{TestCaller, Visitor};
use super::args::{Args, decodes};
use super::call::Call;
use super::done::Done;
use super::fail::{Fail, Why, reply};
use super::gateway::Gateway;
use super::handle::Context;
use super::handler::{Handled, handle};
use super::json::{at, is};
use super::place::Scene;
use super::rate::{Party, Verdict};
use super::request::{Known, Request, Viewed};
use super::route::{Action, Need};
use super::run::run;
use super::site::Matched;
use super::verb::Verb;
use crate::auth::Issue;
use crate::kernel::Caller;
use crate::observe::{LimitName, Via};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::value::RawValue;

/// `caller`: of a rehearsal, who asks no matter what the request shows.
pub(super) async fn serve<G: Gateway>(
    context: &Context<G>,
    request: &Request,
    matched: &Matched<'_>,
    caller: Option<&TestCaller>,
) -> Response<Full<Bytes>> {
    let mut verdict = None;
    let mut response = match answer(context, request, matched, caller, &mut verdict).await {
        Ok(response) => response,
        Err(fail) => failed(&fail, matched),
    };
    if let Some(verdict) = verdict {
        let headers = [
            ("x-ratelimit-limit", verdict.limit.into()),
            ("x-ratelimit-remaining", verdict.remaining.into()),
            ("x-ratelimit-reset", verdict.reset_s),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
    response
}

/// In the route's words, else the app's, else Weir's.
fn failed(fail: &Fail, matched: &Matched<'_>) -> Response<Full<Bytes>> {
    if fail.why == Why::Internal {
        crate::observe::limited!(
            error,
            app = &*matched.app.name,
            route = &*matched.route.name,
            error = fail.detail,
            "a route failed"
        );
    }
    match matched.route.errors.find(fail.why).or_else(|| matched.app.errors.find(fail.why)) {
        Some((status, body)) => {
            let mut response = reply(status, "application/json", body);
            fail.headers(&mut response);
            response
        }
        None => fail.response(),
    }
}

async fn answer<G: Gateway>(
    context: &Context<G>,
    request: &Request,
    matched: &Matched<'_>,
    caller: Option<&TestCaller>,
    verdict: &mut Option<Verdict>,
) -> Result<Response<Full<Bytes>>, Fail> {
    let Matched { app, route, vars } = matched;
    if route.access.limits_first() {
        limit(context, request, matched, Party::address(request.ip), verdict)?;
    }
    let verb = route.action.as_ref().and_then(Action::verb);
    let visitor = match caller {
        None => route.access.identify(context, app, verb, request, &route.name).await?,
        Some(caller) => route.access.assume(caller, &route.name)?,
    };
    if !route.access.limits_first() {
        limit(context, request, matched, visitor.name.clone(), verdict)?;
    }
    route.access.permits(&visitor, &Viewed { request, vars }, &app.tables).await?;

    decodes(&request.query)?;
    // Not before it is known who asks: whoever may not, has nothing read.
    let is_somebody = visitor.identity.as_ref().is_none_or(|identity| identity.user.is_some());
    let known = if route.access.shows_nothing() || !is_somebody { Known::No } else { Known::Yes };
    let bytes = if route.reads_body { request.body.read(known).await? } else { &Bytes::new() };
    let body: Option<&RawValue> = match route.reads_body {
        // A handler may be called without one.
        true if bytes.is_empty() && route.is_handled() && route.need.is_empty() => None,
        true => {
            let text = std::str::from_utf8(bytes).map_err(|_| Fail::new(Why::InvalidJson, "not UTF-8"))?;
            Some(serde_json::from_str(text).map_err(|e| Fail::json(&e))?)
        }
        false => None,
    };
    for Need { at: path, name, kind } in &route.need {
        if !body.and_then(|b| at(b, path)).is_some_and(|value| is(value, *kind)) {
            return Err(Fail::body(format!("`{name}` must be there: {kind:?}").to_lowercase()));
        }
    }
    let running = context.app(app)?;
    let metrics = context.metrics.find(running.id);
    let mut scene = Scene {
        request,
        vars,
        body,
        identity: visitor.identity.as_deref(),
        done: None,
        stats: None,
        metrics: &context.metrics,
        app: metrics.as_deref(),
    };
    let done = match &route.action {
        None => None,
        Some(Action::Handler(bound)) => match handle(context, request, matched, &visitor, body, bound).await? {
            Handled::Reply(response) => return Ok(response),
            Handled::Done(Done::Handled { result: None, .. }) if route.reply.is_none() => {
                return Ok(reply(204, "application/json", Bytes::new()));
            }
            Handled::Done(done) => Some(done),
        },
        Some(action) => {
            let smuggled = |_| Fail::body("a part of a channel's name may not contain `:`");
            let text = route.arguments(&scene).map_err(smuggled)?;
            let mut args = Args::of_json(&text).map_err(|fail| Fail { position: None, ..fail })?;
            let call = match action {
                Action::Verb(verb) => Call::read(*verb, &mut args)?,
                Action::Connection => match Call::read(Verb::Connections, &mut args)? {
                    call @ Call::Connection { .. } => call,
                    _ => return Err(Fail::not_found()),
                },
                Action::Handler(_) => return Err(internal("a handler is no verb".into())),
                Action::IssueToken(auth) => {
                    let token = auth.issue(&issue(&mut args)?, request.now.wall);
                    return finish(context, matched, &mut scene, token.map(Done::Token).map_err(internal)?).await;
                }
            };
            args.finish()?;
            let Visitor { scope, by, .. } = &visitor;
            let caller = Caller {
                generation: context.generation.clone(),
                app: running.clone(),
                scope: scope.clone(),
                via: Via::Route,
                name: by.clone(),
            };
            Some(run(&context.gateway, &caller, call).await?)
        }
    };
    match done {
        Some(done) => finish(context, matched, &mut scene, done).await,
        None => render(context, matched, scene).await,
    }
}

fn internal(why: String) -> Fail {
    Fail::new(Why::Internal, why)
}

fn issue(args: &mut Args<'_>) -> Result<Issue, Fail> {
    let user = args.text("user")?.filter(|u| !u.is_empty());
    let user = user.ok_or_else(|| Fail::new(Why::Unauthorized, "Nobody to make a token for"))?;
    let claims = args.raw("claims")?.map(|c| serde_json::from_str(c.get())).transpose();
    let claims = claims.map_err(|_| Fail::body("`claims` must be an object"))?.unwrap_or_default();
    Ok(Issue { user, claims, ttl_ms: args.number("ttl_ms")? })
}

async fn finish<G: Gateway>(
    context: &Context<G>,
    matched: &Matched<'_>,
    scene: &mut Scene<'_>,
    done: Done,
) -> Result<Response<Full<Bytes>>, Fail> {
    if matched.route.reply.is_none() {
        return Ok(reply(matched.route.status, "application/json", done.to_json().into()));
    }
    render(context, matched, Scene { done: Some(&done), ..*scene }).await
}

async fn render<G: Gateway>(
    context: &Context<G>,
    matched: &Matched<'_>,
    scene: Scene<'_>,
) -> Result<Response<Full<Bytes>>, Fail> {
    let Matched { app, route, .. } = matched;
    let stats = match route.reads_stats {
        true => Some(context.gateway.stats(context.app(app)?.id, &route.count).await?),
        false => None,
    };
    let scene = Scene { stats: stats.as_ref(), ..scene };
    let mut body = Vec::new();
    if let Some(template) = &route.reply {
        template.render(&mut body, |place, out| scene.value(place, out));
    }
    Ok(reply(route.status, "application/json", body.into()))
}

fn limit<G: Gateway>(
    context: &Context<G>,
    request: &Request,
    matched: &Matched<'_>,
    caller: Party,
    verdict: &mut Option<Verdict>,
) -> Result<(), Fail> {
    let Some(rate) = matched.route.limit else { return Ok(()) };
    let route = (matched.app.name.clone(), matched.route.name.clone());
    let said = *verdict.insert(context.state.rates.take(route, caller, rate, request.now));
    if said.allowed {
        return Ok(());
    }
    context.metrics.limit(LimitName::Route, 1);
    let detail = format!("Try again in {} s", said.wait_s);
    Err(Fail { retry_after_s: Some(said.wait_s), ..Fail::new(Why::RateLimited, detail) })
}
