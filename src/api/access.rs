//! Who may use a route.

use super::app::AppHttp;
use super::fail::{Fail, Why};
use super::handle::Context;
use super::keys::Fingerprint;
use super::origin::{foreign_cookie, without_cookies};
use super::place::{Grammar, Place};
use super::rate::Party;
use super::request::{Request, Viewed};
use super::settings::{AccessSettings, AccessWord, AuthAccess};
use super::verb::Verb;
use crate::auth::{Authenticator, Credentials, Lookup, Outcome, Purpose, Resolve, Table, Tables};
use crate::dialect::Template;
use crate::flow::{ROWS_MAX, Rows};
use crate::model::{Identity, Problem, did_you_mean, one_of};
use crate::policy::{Asking, Rule, Scope};
use crate::script;
use hyper::header::HeaderName;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) enum Access {
    Public,
    Key {
        /// In development mode nobody needs one.
        optional: bool,
    },
    Secret {
        /// `None`: it is empty, nobody gets in.
        secret: Option<Fingerprint>,
        from: Vec<From>,
    },
    Auth {
        auth: Vec<Arc<Authenticator>>,
        rule: Option<Rule>,
        stand_in: Option<StandIn>,
    },
}

pub(super) enum From {
    Header(HeaderName),
    Bearer,
}

/// Who a caller without a token is, in development mode.
pub(super) struct StandIn {
    user: Option<Template<Place>>,
    first_of: Option<Arc<Table>>,
}

/// Whoever asks, as far as the route knows.
pub(super) struct Visitor {
    pub identity: Option<Arc<Identity>>,
    /// What an API key covers; everything otherwise.
    pub scope: Scope,
    /// For logs.
    pub by: Arc<str>,
    /// For limits.
    pub name: Party,
}

/// Whom a rehearsed request comes from.
#[derive(Clone, Debug)]
pub enum TestCaller {
    /// Somebody whose key, secret or token is good, and who they are where that is said.
    Trusted(Option<Arc<Identity>>),
    /// Somebody who shows nothing.
    Nobody,
}

/// What access may name.
pub(super) struct Known<'a> {
    pub auths: &'a BTreeMap<String, Arc<Authenticator>>,
    pub tables: &'a Tables,
    pub settings: &'a Map<String, Value>,
    pub development: bool,
    pub resolve: Resolve<'a>,
    /// The app's plugin.
    pub script: Option<&'a script::App>,
}

impl Access {
    /// Whether it looks for a secret or a token in this header.
    pub fn reads_header(&self, name: &HeaderName) -> bool {
        match self {
            Access::Public | Access::Key { .. } => false,
            Access::Secret { from, .. } => from.iter().any(|f| matches!(f, From::Header(h) if h == name)),
            Access::Auth { auth, .. } => auth.iter().any(|by| by.reads_header(name)),
        }
    }

    /// Whether it looks for a token in this parameter of the query.
    pub fn reads_query(&self, name: &str) -> bool {
        matches!(self, Access::Auth { auth, .. } if auth.iter().any(|by| by.reads_query(name)))
    }

    pub fn compile(s: &AccessSettings, path: &str, known: &Known<'_>, problems: &mut Vec<Problem>) -> Access {
        match s {
            AccessSettings::Word(AccessWord::Public) => Access::Public,
            AccessSettings::Word(AccessWord::ApiKey) => Access::Key { optional: known.development },
            AccessSettings::Secret(s) => {
                let secret = (known.resolve)(&s.secret, Purpose::Verify);
                let secret = secret.map_err(|why| problems.push(Problem::new(format!("{path}.secret"), why))).ok();
                let secret = secret.filter(|s| !s.expose().is_empty()).map(|s| Fingerprint::of(s.expose()));
                let from = s.from.iter().enumerate().filter_map(|(at, text)| {
                    let from = From::parse(text);
                    if from.is_none() {
                        problems.push(
                            Problem::new(format!("{path}.from[{at}]"), format!("unknown place of a secret `{text}`"))
                                .expected("`header:NAME` or `bearer`")
                                .hint(did_you_mean(text.split(':').next().unwrap_or(text), ["header", "bearer"])),
                        );
                    }
                    from
                });
                let from = from.collect();
                Access::Secret { secret, from }
            }
            AccessSettings::Auth(s) => auth(s, path, known, problems),
        }
    }

    /// Whether it lets in who shows nothing.
    pub fn shows_nothing(&self) -> bool {
        matches!(self, Access::Public | Access::Key { optional: true } | Access::Auth { stand_in: Some(_), .. })
    }

    /// Whether the caller's name is known before its credentials are looked at: the address.
    pub fn limits_first(&self) -> bool {
        matches!(self, Access::Public | Access::Secret { .. })
    }

    /// Who it is. `verb`: what an API key must cover.
    pub async fn identify<G>(
        &self,
        context: &Context<G>,
        app: &AppHttp,
        verb: Option<Verb>,
        request: &Request,
        by: &Arc<str>,
    ) -> Result<Visitor, Fail> {
        let visitor = |identity, name| Visitor { identity, scope: Scope::everywhere(), by: by.clone(), name };
        let (site, address) = (&context.site, || Party::address(request.ip));
        match self {
            Access::Public => Ok(visitor(None, address())),
            Access::Key { optional } => match context.key(request)? {
                None if *optional => {
                    site.pages.without_key(request, Some(app))?;
                    Ok(visitor(None, address()))
                }
                None => Err(Fail::new(Why::Unauthorized, "An API key is required: `Authorization: Bearer KEY`")),
                Some(key) => {
                    let (scope, by) = key.allows(&app.name, verb)?;
                    Ok(Visitor { identity: None, scope, name: Party::Named(format!("key {by}")), by })
                }
            },
            Access::Secret { secret, from } => {
                let shown = from.iter().find_map(|f| f.find(request)).map(|text| Fingerprint::of(text.as_bytes()));
                if shown.is_some() {
                    context.may_show(request)?;
                }
                match (secret, shown) {
                    (Some(secret), Some(shown)) if secret.is(&shown) => Ok(visitor(None, address())),
                    (_, shown) => {
                        if shown.is_some() {
                            context.was_wrong(request, "a route's secret");
                        }
                        Err(Fail::new(Why::Unauthorized, "The secret is missing or wrong"))
                    }
                }
            }
            Access::Auth { auth, stand_in, .. } => {
                let identity = match identity(auth, request, site.pages.is_foreign(request, Some(app))).await? {
                    Some(identity) => Some(identity),
                    None => {
                        if stand_in.is_some() {
                            site.pages.without_key(request, Some(app))?;
                        }
                        stand_in.as_ref().and_then(|s| s.identity(request))
                    }
                };
                let identity = identity.ok_or_else(|| Fail::new(Why::Unauthorized, "A token is required"))?;
                let name = identity.user.as_deref().map_or_else(address, |u| Party::Named(format!("user {u}")));
                Ok(visitor(Some(identity), name))
            }
        }
    }

    /// As `identify`, where nobody really asks: development mode lets nobody in either who shows nothing.
    pub fn assume(&self, caller: &TestCaller, by: &Arc<str>) -> Result<Visitor, Fail> {
        let identity = match (caller, self) {
            (TestCaller::Trusted(identity), _) => identity.clone(),
            (TestCaller::Nobody, Access::Public) => None,
            (TestCaller::Nobody, _) => {
                return Err(Fail::new(Why::Unauthorized, "Something that shows who asks is required"));
            }
        };
        let name = identity.as_ref().and_then(|i| i.user.as_deref()).unwrap_or("somebody");
        let name = Party::Named(name.to_owned());
        Ok(Visitor { identity, scope: Scope::everywhere(), by: by.clone(), name })
    }

    /// Whether its rule lets this visitor pass.
    pub async fn permits(&self, visitor: &Visitor, viewed: &Viewed<'_>, tables: &Tables) -> Result<(), Fail> {
        let (Access::Auth { rule: Some(rule), .. }, Some(identity)) = (self, &visitor.identity) else { return Ok(()) };
        let now = viewed.request.now;
        let decide = || {
            let rows = Rows::asked(tables, now.mono);
            let decided = rule.allows(&Asking { identity, request: Some(viewed), tables: &rows, now: now.wall });
            let missing = rows.take_missing().filter(|_| decided.as_ref().is_err_and(|error| error.unavailable));
            (decided, missing)
        };
        let (mut decided, mut missing) = decide();
        // One after another: a rule reads the next only where it has the one before.
        for _ in 0..ROWS_MAX {
            let Some(row) = missing.take() else { break };
            if !row.comes().await {
                break;
            }
            (decided, missing) = decide();
        }
        match decided {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fail::new(Why::Forbidden, "Not allowed for this user")),
            Err(error) if error.unavailable => {
                tracing::warn!(rule = rule.text(), %error, "a route's rule cannot be decided");
                Err(Fail::unavailable("Whether you may cannot be decided at the moment"))
            }
            Err(error) => {
                crate::observe::limited!(warn, rule = rule.text(), %error, "a route's rule came to nothing");
                Err(Fail::new(Why::Forbidden, "Not allowed for this user"))
            }
        }
    }
}

/// The first that finds a token decides; `None` where there is none at all. `foreign`: cookies do not count.
async fn identity(
    auth: &[Arc<Authenticator>],
    request: &Request,
    foreign: bool,
) -> Result<Option<Arc<Identity>>, Fail> {
    let without = if foreign { without_cookies(request) } else { None };
    let credentials = Credentials::of_request(Some(&request.query), without.as_ref().unwrap_or(&request.headers));
    for auth in auth {
        match auth.authenticate(&credentials, request.now).await {
            Outcome::Identity(identity) => return Ok(Some(identity)),
            Outcome::Missing => {}
            Outcome::Unavailable { reason } => {
                tracing::warn!(auth = auth.name(), reason = &*reason, "cannot tell who asks");
                return Err(Fail::unavailable("Who you are cannot be verified at the moment"));
            }
            Outcome::Failed { cause, reason } => {
                tracing::info!(
                    auth = auth.name(),
                    cause = cause.as_str(),
                    reason = &*reason,
                    "a route refused a token"
                );
                return Err(Fail::new(Why::Unauthorized, "The token does not verify"));
            }
        }
    }
    if without.is_some() {
        return Err(foreign_cookie());
    }
    Ok(None)
}

impl From {
    fn parse(text: &str) -> Option<From> {
        match text.split_once(':') {
            None => (text == "bearer").then_some(From::Bearer),
            Some(("header", name)) => HeaderName::from_bytes(name.as_bytes()).ok().map(From::Header),
            Some(_) => None,
        }
    }

    fn find<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let text = match self {
            From::Bearer => request.bearer()?,
            From::Header(name) => request.headers.get(name)?.to_str().ok()?.trim(),
        };
        (!text.is_empty()).then_some(text)
    }
}

impl StandIn {
    fn identity(&self, request: &Request) -> Option<Arc<Identity>> {
        let mut text = Vec::new();
        if let Some(user) = &self.user {
            user.render(&mut text, |place, out| match place {
                Place::Setting(value) => {
                    out.extend_from_slice(value.to_string().as_bytes());
                    true
                }
                _ => false,
            });
        }
        let user = serde_json::from_slice::<String>(&text).ok().filter(|user| !user.is_empty());
        let user = user.or_else(|| self.first_of.as_ref()?.first_key().map(str::to_owned))?;
        let mut claims = match self.first_of.as_ref().map(|t| t.cached(&user, request.now.mono)) {
            Some(Lookup::Row(row)) => (*row).clone(),
            Some(Lookup::Absent | Lookup::Unknown) | None => Map::new(),
        };
        if let Some(role @ Value::String(_)) = claims.get("role").cloned() {
            claims.entry("roles").or_insert_with(|| Value::Array(vec![role]));
        }
        Some(Arc::new(Identity { user: Some(user.into()), claims, ..Identity::default() }))
    }
}

fn auth(s: &AuthAccess, path: &str, known: &Known<'_>, problems: &mut Vec<Problem>) -> Access {
    if s.auth.is_empty() {
        problems.push(Problem::new(format!("{path}.auth"), "nobody can be known").expected("names of `[auth.NAME]`"));
    }
    let names = || known.auths.keys().map(String::as_str);
    let auth = s.auth.iter().enumerate().filter_map(|(at, name)| {
        let found = known.auths.get(name).cloned();
        if found.is_none() {
            problems.push(
                Problem::new(format!("{path}.auth[{at}]"), format!("unknown auth `{name}`"))
                    .expected(one_of(names()))
                    .hint(did_you_mean(name, names())),
            );
        }
        found
    });
    let auth = auth.collect();
    let tables: Vec<&str> = known.tables.names().collect();
    let rule = s
        .rule
        .as_deref()
        .and_then(|text| Rule::compile(text, &format!("{path}.rule"), &tables).map_err(|p| problems.extend(p)).ok());
    let first_of = s.else_first_of.as_deref().and_then(|name| {
        let table = known.tables.get(name).cloned();
        if table.is_none() {
            problems.push(
                Problem::new(format!("{path}.else_first_of"), format!("unknown table `{name}`"))
                    .expected("the name of a `[table.NAME]` of this app")
                    .hint(did_you_mean(name, tables.iter().copied())),
            );
        }
        table
    });
    let grammar =
        Grammar { vars: &[], body: false, user: false, settings: known.settings, done: &[], stats: false, count: &[] };
    let user = s
        .development_user
        .as_ref()
        .map(|text| grammar.compile(&Value::from(text.as_str()), &format!("{path}.development_user"), problems));
    let wanted = user.is_some() || first_of.is_some();
    let stand_in = (known.development && wanted).then_some(StandIn { user, first_of });
    Access::Auth { auth, rule, stand_in }
}
