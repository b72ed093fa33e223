//! What is legal in the files and probably not meant: warnings, and faults with `weir check --strict`.

use super::app::App;
use super::file::{AppFile, GatewayFile};
use super::handlers;
use crate::api::{AccessSettings, RouteSettings};
use crate::auth::Settings;
use crate::dialect::json::{Receive, Verb};
use crate::model::Problem;
use crate::policy::{RightKind, Rule};
use std::collections::BTreeSet;

/// Of one app that compiled.
pub fn app(file: &AppFile, app: &App) -> Vec<Problem> {
    let mut problems = rules(file, app);
    problems.extend(classes(file, app));
    problems.extend(dialects(file, app));
    problems.extend(names(file, app));
    problems.extend(app.flow.handlers.iter().flat_map(|h| handlers::doubts(file, h)));
    problems.extend(believed(file));
    problems
}

/// Authenticators by which everybody can be anybody, in production too.
fn believed(file: &AppFile) -> impl Iterator<Item = Problem> {
    let insecure = file.auth.iter().filter(|(_, auth)| matches!(auth, Settings::Trusted(t) if t.insecure));
    insecure.map(|(name, _)| {
        Problem::new(
            format!("auth.{name}.insecure"),
            format!("auth `{name}` believes its clients: whoever can connect can be anybody"),
        )
    })
}

/// Keys of gateway.toml that verify nothing.
pub fn keys<'a>(gateway: &GatewayFile, apps: impl Iterator<Item = &'a AppFile>) -> Vec<Problem> {
    let mut used = BTreeSet::new();
    for auth in apps.flat_map(|a| a.auth.values()) {
        if let Settings::Jwt(jwt) = auth {
            used.extend(jwt.keys.iter().map(String::as_str));
        }
    }
    // A gateway without apps that read tokens has its keys for later.
    let unused = gateway.key.keys().filter(|name| !used.is_empty() && !used.contains(name.as_str()));
    unused
        .map(|name| Problem::new(format!("key.{name}"), format!("no [auth.NAME] of any app uses the key `{name}`")))
        .collect()
}

/// Rules that hang on nothing.
fn rules(file: &AppFile, app: &App) -> Vec<Problem> {
    let doubts = app.flow.policy.doubts().into_iter().map(|doubt| (doubt.path, doubt.always));
    let tables: Vec<&str> = file.table.keys().map(String::as_str).collect();
    let routes = file.route.iter().enumerate().filter_map(|(i, route)| {
        let path = format!("route[{i}].access.rule");
        Some((path.clone(), Rule::compile(rule_of(route)?, &path, &tables).ok()?.always()?))
    });
    let told = doubts.chain(routes).map(|(path, always)| {
        let part = if always.whole { "this rule is" } else { "this part of the rule is" };
        let verdict = if always.verdict { "always true" } else { "never true" };
        let hint = match (always.whole, always.verdict) {
            (true, true) => Some("write \"true\" where everybody may".to_owned()),
            (true, false) => Some("leave the rule out where nobody may".to_owned()),
            (false, _) => None,
        };
        let problem = Problem::new(path, format!("{part} {verdict}, whoever asks")).hint(hint);
        problem.at(always.at.0, always.at.1)
    });
    told.collect()
}

fn rule_of(route: &RouteSettings) -> Option<&str> {
    match &route.access {
        AccessSettings::Auth(auth) => auth.rule.as_deref(),
        AccessSettings::Word(_) | AccessSettings::Secret(_) => None,
    }
}

/// Classes and texts that nothing reaches.
fn classes(file: &AppFile, app: &App) -> Vec<Problem> {
    let name = |class: usize| file.channel.get(class).map_or(String::new(), |c| format!("`{}`", c.a.name));
    let shadows = app.flow.policy.shadowed().into_iter().map(|shadow| {
        let by: Vec<String> = shadow.by.iter().map(|c| name(*c)).collect();
        Problem::new(
            format!("channel[{}].name", shadow.class),
            format!("no channel is of the class {}: {} take them all", name(shadow.class), by.join(" and ")),
        )
    });
    let unreachable = app.flow.policy.unreachable().into_iter();
    let unread = unreachable
        .map(|path| Problem::new(path, "nobody reads this: an entry before it has no `when`, so it always holds"));
    shadows.chain(unread).collect()
}

/// What clients may send, where it can only be refused; and answers to what they cannot ask.
fn dialects(file: &AppFile, app: &App) -> Vec<Problem> {
    let mut problems = Vec::new();
    let policy = &app.flow.policy;
    let (history, presence) =
        (file.channel.iter().any(|c| c.b.a.history.is_some()), file.channel.iter().any(|c| c.b.a.presence));
    for (name, dialect) in &file.dialect {
        let at = |entry: &str| format!("dialect.{name}.receive.{entry}");
        // What is written here is said by all that are like it.
        let family: Vec<&String> = file.dialect.keys().filter(|other| descends(file, other, name)).collect();
        let speaks = || file.endpoint.iter().filter(|e| family.contains(&&e.dialect)).flat_map(|e| &e.auth);
        let from_messages = speaks().any(|auth| app.auths.get(auth).is_some_and(|a| a.takes_messages()));
        for (entry, receive) in &dialect.receive {
            let why = match receive.verb {
                Verb::Subscribe if !policy.grants(RightKind::Subscribe) => "no class has a `subscribe` rule",
                Verb::Publish if !policy.grants(RightKind::Publish) => "no class has a `publish` rule",
                Verb::History if !history => "no class keeps a history",
                Verb::Presence if !presence => "no class keeps its presence",
                Verb::Authenticate if !from_messages => "no auth of its endpoints takes a token `from` a `message`",
                _ => continue,
            };
            problems.push(Problem::new(at(entry), format!("`{entry}` can only be refused: {why}")));
        }
        let asked = |verb: Verb| {
            let mut all = family.iter().filter_map(|name| app.dialects.get(*name));
            all.any(|d| d.receive.values().chain(&d.receive_default).any(|r: &Receive| r.verb == verb))
        };
        let send = &dialect.send;
        let unsaid = [
            ("pong", send.pong.is_some(), Verb::Ping),
            ("status", send.status.is_some(), Verb::Status),
            ("published", send.published.is_some(), Verb::Publish),
            ("history", send.history.is_some(), Verb::History),
            ("presence", send.presence.is_some(), Verb::Presence),
            ("authenticated", send.authenticated.is_some(), Verb::Authenticate),
        ];
        for (entry, written, verb) in unsaid {
            if written && !asked(verb) {
                let verb = format!("{verb:?}").to_lowercase();
                problems.push(
                    Problem::new(
                        format!("dialect.{name}.send.{entry}"),
                        format!("nobody is told this: no `receive` of the dialect asks for `{verb}`"),
                    )
                    .hint(Some(format!("`receive.NAME = {{ do = \"{verb}\" }}` lets clients ask"))),
                );
            }
        }
        for (entry, written) in [("joined", send.joined.is_some()), ("left", send.left.is_some())] {
            if written && !presence {
                let what = "nobody is told this: no class has `presence = true`";
                problems.push(Problem::new(format!("dialect.{name}.send.{entry}"), what));
            }
        }
    }
    problems
}

/// Whether a dialect is another, or like it, or like one that is.
fn descends(file: &AppFile, name: &str, of: &str) -> bool {
    let like = |name: &&str| file.dialect.get(*name)?.like.as_deref();
    // No way is longer than there are dialects, and one that goes in a circle does not compile.
    std::iter::successors(Some(name), like).take(file.dialect.len()).any(|at| at == of)
}

/// Authenticators and tables that nothing names.
fn names(file: &AppFile, app: &App) -> Vec<Problem> {
    let (mut auths, mut tables) = (BTreeSet::new(), app.flow.policy.tables_read());
    auths.extend(file.endpoint.iter().flat_map(|e| &e.auth).map(String::as_str));
    for route in &file.route {
        if let AccessSettings::Auth(access) = &route.access {
            auths.extend(access.auth.iter().map(String::as_str));
            tables.extend(access.else_first_of.as_deref());
        }
        auths.extend(route.with.get("auth").and_then(|v| v.as_str()));
    }
    for auth in file.auth.values() {
        tables.extend(match auth {
            Settings::Jwt(jwt) => jwt.table.as_deref(),
            Settings::Hmac(hmac) => hmac.table.as_deref(),
            Settings::Trusted(trusted) => trusted.table.as_deref(),
        });
    }
    let names: Vec<&str> = file.table.keys().map(String::as_str).collect();
    let rules: Vec<Rule> = file.route.iter().filter_map(|r| Rule::compile(rule_of(r)?, "", &names).ok()).collect();
    tables.extend(rules.iter().flat_map(|rule| rule.tables()));
    let unused_auths = file.auth.keys().filter(|name| !auths.contains(name.as_str()));
    let unused_auths = unused_auths.map(|name| {
        Problem::new(format!("auth.{name}"), format!("no [[endpoint]] or [[route]] uses the auth `{name}`"))
    });
    let unused_tables = file.table.keys().filter(|name| !tables.contains(name.as_str()));
    let unused_tables = unused_tables.map(|name| {
        Problem::new(format!("table.{name}"), format!("no rule and no auth looks into the table `{name}`"))
    });
    unused_auths.chain(unused_tables).collect()
}
