//! What only the whole configuration shows: names that point nowhere, limits that make no sense, modes that forbid.

use super::doc::Doc;
use super::file::{AppFile, GatewayFile, Mode};
use crate::api::AccessSettings;
use crate::auth::Settings;
use crate::dialect;
use crate::flow::limits::{AppLimits, AppLimitsOverride};
use crate::model::{ChannelName, Fault, Ms, MsOrOff, Problem, Rate, Size, did_you_mean, one_of};
use crate::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// `expected`, `hint` for a name that is none of those there are.
pub fn unknown_name<'n>(
    path: impl Into<String>,
    noun: &str,
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Problem {
    let problem = Problem::new(path, format!("unknown {noun} `{name}`"));
    match one_of(known.clone()) {
        none if none.is_empty() => problem.hint(Some(format!("there is no {noun} at all"))),
        expected => problem.expected(expected).hint(did_you_mean(name, known)),
    }
}

/// Addresses of listeners: readable, distinct, and on loopback in development mode.
pub fn listeners(file: &GatewayFile, doc: &Doc, faults: &mut Vec<Fault>) {
    let mut taken: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    if file.listener.is_empty() {
        faults.push(doc.locate(&Problem::new("listener", "there is no [listener.NAME]: nobody could connect")));
    }
    // In the order of the file: of two with one address, the second is told.
    let written = doc.root.get("listener").and_then(|n| n.table()).unwrap_or_default();
    for (name, listener) in written.iter().filter_map(|e| file.listener.get_key_value(&e.name)) {
        let path = format!("listener.{name}.address");
        let problem = match listener.address.parse::<SocketAddr>() {
            Err(_) => Problem::new(path, format!("`{}` is no address", listener.address))
                .expected("an IP address and a port, such as \"127.0.0.1:3000\" or \"[::1]:3000\"")
                .hint(listener.address.starts_with("localhost:").then(|| "localhost is `127.0.0.1`".to_owned())),
            Ok(address) if file.mode == Mode::Development && !address.ip().is_loopback() => {
                Problem::new(path, format!("`{address}` is open to others, and mode is `development`"))
                    .expected("an address on loopback, such as 127.0.0.1")
                    .hint(Some(
                        "development mode has published secrets; `mode = \"production\"` may listen anywhere".into(),
                    ))
            }
            Ok(address) => match taken.insert(address, name) {
                Some(other) if address.port() != 0 => {
                    Problem::new(path, format!("`{address}` is taken by [listener.{other}]"))
                }
                _ => continue,
            },
        };
        faults.push(doc.locate(&problem));
    }
}

/// Cookies by which pages of every origin could act in their visitors' names. A browser sends them along with any page's
/// request; only the list of origins tells the pages apart. Such cookies do not count, so a file that asks for them is
/// wrong, and one that has them by default (`written` knows) may be. In development mode `*` stands for this machine's
/// pages.
pub fn origins(app: &AppFile, general: &[String], written: impl Fn(&str) -> bool) -> (Vec<Problem>, Vec<Problem>) {
    let any = |list: &[String]| list.iter().any(|origin| origin == "*");
    let open = |own: Option<&Vec<String>>| any(general) && own.or(app.origins.as_ref()).is_none_or(|own| any(own));
    let by_cookie = |name: &String| {
        let from = match app.auth.get(name)? {
            Settings::Jwt(jwt) => &jwt.from,
            Settings::Hmac(hmac) => &hmac.from,
            Settings::Trusted(_) => return None,
        };
        let at = from.iter().position(|from| from.starts_with("cookie:"))?;
        let path = if written(name) { format!("auth.{name}.from[{at}]") } else { format!("auth.{name}") };
        Some((written(name), path, from[at].clone()))
    };
    let endpoints = app.endpoint.iter().filter(|e| open(e.a.origins.as_ref())).flat_map(|e| &e.a.auth);
    let routes = app.route.iter().filter(|_| open(None)).filter_map(|route| match &route.access {
        AccessSettings::Auth(access) => Some(&access.auth),
        AccessSettings::Word(_) | AccessSettings::Secret(_) => None,
    });
    let used: BTreeSet<&String> = endpoints.chain(routes.flatten()).collect();
    let told = used.into_iter().filter_map(by_cookie).map(|(written, path, cookie)| {
        let what = match written {
            true => format!("`{cookie}` authenticates, and `origins` lets pages of every origin use it"),
            false => {
                format!("`{cookie}`, of the default `from`, does not count: `origins` lets in pages of every origin")
            }
        };
        let problem = Problem::new(path, what)
            .expected("`origins` with the origins of your own pages, here or in [http] of gateway.toml")
            .hint(Some("without cookies, write `from = [\"query:token\", \"bearer\"]`".into()));
        (written, problem)
    });
    let (faults, warnings): (Vec<_>, Vec<_>) = told.partition(|(written, _)| *written);
    let problems = |told: Vec<(bool, Problem)>| told.into_iter().map(|(_, problem)| problem).collect();
    (problems(faults), problems(warnings))
}

/// Apps that listeners are for and that are not there: whoever calls without `app` is refused.
pub fn default_apps(file: &GatewayFile, apps: &[&str]) -> Vec<Problem> {
    let named = file.listener.iter().filter_map(|(name, listener)| Some((name, listener.app.as_deref()?)));
    let missing = named.filter(|(_, app)| !apps.contains(app));
    missing.map(|(name, app)| unknown_name(format!("listener.{name}.app"), "app", app, apps.iter().copied())).collect()
}

/// Names that an app uses: listeners, dialects, authenticators.
pub fn names(app: &AppFile, listeners: &[&str], built_in: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    // Those of endpoints are the router's to judge; one that nobody names is told there and by the route itself.
    let listener = |path: String, name: Option<&String>, problems: &mut Vec<Problem>| {
        if let Some(name) = name.filter(|n| !listeners.contains(&n.as_str())) {
            problems.push(unknown_name(path, "listener", name, listeners.iter().copied()));
        }
    };
    listener("listener".into(), app.listener.as_ref(), &mut problems);
    for (i, endpoint) in app.endpoint.iter().enumerate() {
        let known = app.dialect.keys().map(String::as_str).chain(built_in.iter().copied());
        if !known.clone().any(|k| k == endpoint.dialect) {
            problems.push(unknown_name(format!("endpoint[{i}].dialect"), "dialect", &endpoint.dialect, known));
        }
        for (j, name) in endpoint.auth.iter().enumerate().filter(|(_, n)| !app.auth.contains_key(*n)) {
            problems.push(unknown_name(
                format!("endpoint[{i}].auth[{j}]"),
                "auth",
                name,
                app.auth.keys().map(String::as_str),
            ));
        }
    }
    for (i, route) in app.route.iter().enumerate() {
        listener(format!("route[{i}].listener"), route.listener.as_ref(), &mut problems);
    }
    problems
}

/// Authenticators that believe what clients say of themselves; in production only where the file says so.
pub fn believed(app: &AppFile, development: bool) -> Vec<Problem> {
    let open = |auth: &Settings| matches!(auth, Settings::Trusted(trusted) if !trusted.insecure && !development);
    let open = app.auth.iter().filter(|(_, auth)| open(auth) && auth.is_there(development));
    let open = open.map(|(name, _)| {
        Problem::new(format!("auth.{name}.type"), "a trusted client can be anybody, and mode is `production`")
            .expected("`type = \"jwt\"` or `type = \"hmac\"`")
            .hint(Some(
                "`insecure = true` beside it allows it all the same, `development = true` leaves it out here".into(),
            ))
    });
    // Without any authenticator everybody would be let in, unknown.
    let gone = |name: &String| app.auth.get(name).is_some_and(|auth| !auth.is_there(development));
    let endpoints = app.endpoint.iter().enumerate().filter(|(_, e)| !e.auth.is_empty() && e.auth.iter().all(gone));
    let left = endpoints.map(|(i, _)| {
        Problem::new(format!("endpoint[{i}].auth"), "all of them are for development mode, and mode is `production`")
            .expected("another `[auth.NAME]` beside them")
    });
    open.chain(left).collect()
}

/// What stands in a file and is used by nothing in it.
pub fn unused(app: &AppFile) -> Vec<Problem> {
    let named = |name: &str| app.dialect.values().any(|other| other.like.as_deref() == Some(name));
    let unused = app.dialect.keys().filter(|name| !named(name) && !app.endpoint.iter().any(|e| e.dialect == **name));
    unused
        .map(|name| Problem::new(format!("dialect.{name}"), format!("no [[endpoint]] speaks the dialect `{name}`")))
        .collect()
}

/// Dialects in which a client is never told that something was refused: it waits for an answer that does not come.
pub fn unanswering(dialects: &BTreeMap<String, dialect::Settings>) -> Vec<Problem> {
    let silent = dialects.iter().filter_map(|(name, settings)| {
        let silent = settings.send.error.is_none() && settings.quiet != Some(true) && !settings.receive.is_empty();
        silent.then_some(name)
    });
    silent
        .map(|name| {
            let what = format!("the dialect `{name}` has no `send.error`: refused messages are not answered");
            Problem::new(format!("dialect.{name}"), what).hint(Some("`quiet = true` says that this is meant".into()))
        })
        .collect()
}

/// `also` copies keep their order only within one home.
pub fn homes(app: &AppFile, policy: Option<&Policy>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, class) in app.channel.iter().enumerate() {
        for (j, also) in class.a.also.iter().enumerate() {
            let path = format!("channel[{i}].also[{j}]");
            if *also == class.a.name {
                problems.push(Problem::new(path, format!("`{also}` is the class itself")));
                continue;
            }
            let channel = ChannelName::parse(also).ok();
            let found = channel.and_then(|c| policy?.find(&c).map(|m| m.number() as usize));
            if found.is_none() && policy.is_some() && !also.contains('{') {
                problems.push(Problem::new(path, format!("no class matches `{also}`: nobody could hear the copies")));
                continue;
            }
            let named = app.channel.iter().position(|c| c.a.name == *also);
            let Some(target) = named.or(found).and_then(|n| app.channel.get(n)) else { continue };
            if target.a.home != class.a.home || class.a.home.is_none() {
                let home = class.a.home.as_deref().unwrap_or("NAME");
                problems.push(
                    Problem::new(path, format!("`{also}` and `{}` have no home in common", class.a.name))
                        .expected(format!("`home = \"{home}\"` in both, so that the copies keep their order")),
                );
            }
        }
    }
    problems
}

/// Waits and sizes of nothing, buckets that never hold anything; paths are those of `[limits]`.
pub fn limits(file: &GatewayFile) -> Vec<Problem> {
    let (process, app) = (&file.limits.a, &file.limits.b);
    let mut problems = Vec::new();
    rate("attempts_per_ip", process.attempts_per_ip, &mut problems);
    wait("handshake_timeout", process.handshake_timeout, &mut problems);
    bytes("memory", process.memory, &mut problems);
    let all = AppLimitsOverride {
        messages: Some(app.messages),
        messages_per_user: Some(app.messages_per_user),
        message_bytes: Some(app.message_bytes),
        queue_bytes: Some(app.queue_bytes),
        queue_age: Some(app.queue_age),
        ping_interval: Some(app.ping_interval),
        pong_timeout: Some(app.pong_timeout),
        idle_timeout: Some(app.idle_timeout),
        message_idle_timeout: Some(app.message_idle_timeout),
        auth_timeout: Some(app.auth_timeout),
        close_timeout: Some(app.close_timeout),
        ..AppLimitsOverride::default()
    };
    problems.extend(app_limits(&all));
    if app.app_memory.0.is_some_and(|own| own > process.memory.0 / 16 * 11) {
        let problem = Problem::new("app_memory", "more would be kept back for each app than apps have of `memory`");
        problems.push(problem.expected("eleven sixteenths of `memory` at most: the rest is for HTTP"));
    }
    if app.message_bytes.0 > process.memory.0 {
        problems
            .push(Problem::new("message_bytes", "one message may be larger than `memory`, which bounds all of them"));
    }
    problems
}

/// As `limits`, for what an app sets itself.
pub fn app_limits(own: &AppLimitsOverride) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut each = |name, value: Option<Ms>| value.into_iter().for_each(|v| wait(name, v, &mut problems));
    each("queue_age", own.queue_age);
    each("pong_timeout", own.pong_timeout);
    each("auth_timeout", own.auth_timeout);
    each("close_timeout", own.close_timeout);
    let off = [
        ("ping_interval", own.ping_interval),
        ("idle_timeout", own.idle_timeout),
        ("message_idle_timeout", own.message_idle_timeout),
    ];
    for (name, value) in off {
        if value == Some(MsOrOff(Some(0))) {
            problems.push(
                Problem::new(name, format!("`{name}` is no time at all"))
                    .hint(Some("`\"off\"` switches it off".into())),
            );
        }
    }
    own.messages.into_iter().for_each(|v| rate("messages", v, &mut problems));
    own.messages_per_user.into_iter().for_each(|v| rate("messages_per_user", v, &mut problems));
    own.message_bytes.into_iter().for_each(|v| bytes("message_bytes", v, &mut problems));
    own.queue_bytes.into_iter().for_each(|v| bytes("queue_bytes", v, &mut problems));
    problems
}

/// What is legal and probably not meant; paths are those of `[limits]`.
pub fn doubtful(limits: &AppLimits) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let (Some(ping), Some(idle)) = (limits.ping_interval.0, limits.idle_timeout.0)
        && idle <= ping
    {
        problems.push(
            Problem::new("idle_timeout", "quiet clients are closed before they are pinged")
                .hint(Some("an `idle_timeout` above `ping_interval` lets their answers keep them".into())),
        );
    }
    if limits.queue_bytes.0 < limits.message_bytes.0 {
        problems.push(Problem::new("queue_bytes", "one message of `message_bytes` overflows the queue of its readers"));
    }
    problems
}

fn wait(name: &str, value: Ms, problems: &mut Vec<Problem>) {
    if value.0 == 0 {
        problems.push(
            Problem::new(name, format!("`{name}` is no time at all: everything would end at once"))
                .expected("\"1ms\" or more"),
        );
    }
}

fn bytes(name: &str, value: Size, problems: &mut Vec<Problem>) {
    if value.0 == 0 {
        problems.push(Problem::new(name, format!("`{name}` leaves room for nothing")).expected("\"1B\" or more"));
    }
}

fn rate(name: &str, value: Rate, problems: &mut Vec<Problem>) {
    if value.burst == 0 {
        problems.push(
            Problem::new(format!("{name}.burst"), format!("`{name}` would never let anything pass"))
                .expected("1 or more"),
        );
    }
    if value.per.0 == 0 {
        problems.push(
            Problem::new(format!("{name}.per"), format!("`{name}` fills in no time: it would limit nothing"))
                .expected("\"1ms\" or more"),
        );
    }
}
