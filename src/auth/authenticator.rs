//! One `[auth.NAME]`, ready for use.

use super::claims::{Mapping, Requirement, is_present, lookup};
use super::credentials::{Credentials, Source, token};
use super::jwt::{Times, verify};
use super::key::{Key, Keys};
use super::outcome::{Action, Cause, Failure, Outcome, Peek, on_failed, on_missing};
use super::settings::{HmacSettings, JwtSettings, Settings};
use super::stamp::Stamp;
use super::table::{Table, Tables};
use super::trusted::{self, Trusted};
use super::{Purpose, Resolve};
use crate::model::{Identity, Millis, Ms, Now, Problem, did_you_mean};
use hyper::header::{HeaderMap, HeaderName};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// One way for clients to show who they are.
pub struct Authenticator {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) mapping: Mapping,
    pub(super) from: Vec<Source>,
    /// Claims in which a message must not differ from its token, nor a fresh token from the last one.
    pub(super) matching: Vec<String>,
    pub(super) missing: Action,
    pub(super) failed: Action,
    pub(super) expiry: Option<Expiry>,
}

pub(super) enum Kind {
    Jwt { keys: Vec<Arc<Key>>, times: Times },
    Hmac(Stamp),
    Trusted(Trusted),
}

/// For connections that end with their token, at `Identity::expires_at`, its leeway included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// How long before that the client is asked for a new token.
    pub warn_before_ms: u32,
}

impl Expiry {
    /// Longer than 49 days before is 49 days before.
    fn new(warn_before: Ms) -> Expiry {
        Expiry { warn_before_ms: u32::try_from(warn_before.0).unwrap_or(u32::MAX) }
    }
}

impl Authenticator {
    /// All that is wrong with `settings` at once; paths such as `keys[1]`, `failed.close`.
    pub fn compile(
        name: &str,
        settings: &Settings,
        keys: &Keys,
        tables: &Tables,
        resolve: Resolve<'_>,
    ) -> Result<Authenticator, Vec<Problem>> {
        let mut problems = Vec::new();
        let auth = match settings {
            Settings::Jwt(s) => jwt(name, s, keys, tables, &mut problems),
            Settings::Hmac(s) => hmac(name, s, tables, resolve, &mut problems),
            Settings::Trusted(s) => {
                let table = table(s.table.as_deref(), tables, &mut problems);
                Some(trusted::compile(name, s, table, &mut problems))
            }
        };
        match auth {
            Some(auth) if problems.is_empty() => Ok(auth),
            _ => Err(problems),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn on_missing(&self) -> &Action {
        &self.missing
    }

    pub fn on_failed(&self) -> &Action {
        &self.failed
    }

    /// Whether it reads tokens, rather than what a client says of itself.
    pub fn takes_tokens(&self) -> bool {
        !matches!(self.kind, Kind::Trusted(_))
    }

    /// Whether a connection may open without a token and send it, or who it is, in a message.
    pub fn takes_messages(&self) -> bool {
        self.from.contains(&Source::Message)
    }

    /// The sub-protocol to answer an upgrade with, where its token stands behind that.
    pub fn subprotocol<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        self.from.iter().find_map(|source| source.subprotocol(headers))
    }

    /// Whether it reads tokens from this parameter of the query.
    pub fn reads_query(&self, parameter: &str) -> bool {
        self.from.iter().any(|source| source.is_in_query(parameter))
    }

    /// Whether it reads tokens from this header.
    pub fn reads_header(&self, header: &HeaderName) -> bool {
        self.from.iter().any(|source| source.is_in_header(header))
    }

    /// Whether connections end with their token.
    pub fn expiry(&self) -> Option<Expiry> {
        self.expiry
    }

    /// Who this is. The first token found is the one that counts: another is not looked for if it fails.
    pub async fn authenticate(&self, credentials: &Credentials<'_>, now: Now) -> Outcome {
        match self.judge(credentials, now).await {
            None => Outcome::Missing,
            Some(identity) => identity.into(),
        }
    }

    /// `None`: there is nothing to judge.
    async fn judge(&self, credentials: &Credentials<'_>, now: Now) -> Option<Result<Identity, Failure>> {
        if let Kind::Trusted(trusted) = &self.kind {
            return Some(match trusted.claims(credentials)? {
                Ok(claims) => self.mapping.identity(claims, None, now.mono).await,
                Err(failure) => Err(failure),
            });
        }
        let token = token(&self.from, credentials)?;
        Some(self.admit_saying(&token, credentials.claims, now).await)
    }

    /// As `admit`, where a message says who it is beside its token.
    async fn admit_saying(
        &self,
        token: &str,
        said: Option<&Map<String, Value>>,
        now: Now,
    ) -> Result<Identity, Failure> {
        self.check_said(self.admit(token, now).await?, said)
    }

    /// What a message says beside its token must be what the token says.
    fn check_said(&self, identity: Identity, said: Option<&Map<String, Value>>) -> Result<Identity, Failure> {
        let differs = |claim: &&String| {
            let Some(said) = said.and_then(|said| lookup(said, claim)).filter(|said| !said.is_null()) else {
                return false;
            };
            match lookup(&identity.claims, claim) {
                Some(claimed) => claimed != said,
                None => !self.mapping.user.contains(*claim) || said.as_str() != identity.user.as_deref(),
            }
        };
        match self.matching.iter().find(differs) {
            Some(claim) => Err(Failure::new(Cause::Claims, format!("claim `{claim}` is not the token's"))),
            None => Ok(identity),
        }
    }

    /// Whether the request's token verifies and has `claim`, a name or a dotted path. Table, `require` and `forbid` do not matter.
    pub async fn peek(&self, credentials: &Credentials<'_>, claim: &str, now: Now) -> Peek {
        match token(&self.from, credentials).filter(|_| self.takes_tokens()) {
            None => Peek::Missing,
            Some(token) => match self.claims(&token, now).await {
                Err(Failure { cause: None, .. }) => Peek::Unavailable,
                Err(_) => Peek::Failed,
                Ok((claims, _)) if is_present(&claims, claim) => Peek::Has,
                Ok(_) => Peek::HasNot,
            },
        }
    }

    /// Fresh credentials on a live connection: they must be of the user that it already is, in the same world of his
    /// (`match`, or a trusted client's `require`). `bearer` and the like do not matter: the token came in a message.
    /// Nobody becomes somebody only where tokens are taken from messages.
    pub async fn refresh(&self, current: &Identity, credentials: &Credentials<'_>, now: Now) -> Outcome {
        let (fresh, fixed) = match (&self.kind, credentials.message) {
            (Kind::Trusted(trusted), _) => (self.judge(credentials, now).await, trusted.fixed()),
            (Kind::Jwt { .. } | Kind::Hmac(_), Some(token)) => {
                (Some(self.admit_saying(token, credentials.claims, now).await), &self.matching[..])
            }
            (Kind::Jwt { .. } | Kind::Hmac(_), None) => (None, &[][..]),
        };
        let Some(fresh) = fresh else { return Outcome::Missing };
        let fresh = fresh.and_then(|fresh| {
            if current.user.is_none() && self.takes_messages() {
                return Ok(fresh);
            }
            if current.user != fresh.user {
                return Err(Failure::new(Cause::OtherUser, "of another user"));
            }
            let changed = |claim: &&String| lookup(&current.claims, claim) != lookup(&fresh.claims, claim);
            match fixed.iter().find(changed) {
                Some(claim) => Err(Failure::new(Cause::OtherUser, format!("of another `{claim}`"))),
                None => Ok(fresh),
            }
        });
        fresh.map(|fresh| Identity { version: current.version.wrapping_add(1), ..fresh }).into()
    }

    pub(super) async fn admit(&self, token: &str, now: Now) -> Result<Identity, Failure> {
        let (claims, ends) = self.claims(token, now).await?;
        self.mapping.identity(claims, ends, now.mono).await
    }

    /// The claims of a token that verifies and has not ended, and when it will.
    async fn claims(&self, token: &str, now: Now) -> Result<(Map<String, Value>, Option<Millis>), Failure> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Failure::new(Cause::Malformed, "too long for a token"));
        }
        match &self.kind {
            Kind::Trusted(_) => Err(Failure::new(Cause::Malformed, "no tokens are taken here")),
            Kind::Hmac(stamp) => stamp.verify(token, now.wall).map(|(claims, ends)| (claims, Some(ends))),
            Kind::Jwt { keys, times } => {
                let claims = verify(keys, token, now.mono).await?;
                let ends = times.check(&claims, now.wall)?;
                Ok((claims, ends))
            }
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Authenticator({})", self.name)
    }
}

fn jwt(
    name: &str,
    s: &JwtSettings,
    keys: &Keys,
    tables: &Tables,
    problems: &mut Vec<Problem>,
) -> Option<Authenticator> {
    if s.keys.is_empty() {
        problems.push(Problem::new("keys", "no key to verify tokens with").expected("names of `[key.NAME]`"));
    }
    let keys = s.keys.iter().enumerate().filter_map(|(at, key)| {
        let found = keys.get(key).cloned();
        if found.is_none() {
            problems.push(
                Problem::new(format!("keys[{at}]"), format!("unknown key `{key}`"))
                    .expected("the name of a `[key.NAME]` of gateway.toml")
                    .hint(did_you_mean(key, keys.names())),
            );
        }
        found
    });
    let keys = keys.collect();
    let mapping = Mapping {
        user: s.user.clone(),
        roles: s.roles.clone(),
        require: Requirement::list(&s.require),
        forbid: s.forbid.clone(),
        any_audience: s.any_audience,
        table: table(s.table.as_deref(), tables, problems),
        table_key: s.table_key.clone(),
        defaults: s.defaults.clone(),
        unknown: s.unknown,
    };
    if s.table_key.is_some() && s.table.is_none() {
        problems.push(Problem::new("table_key", "a key without a `table`"));
    }
    Some(Authenticator {
        name: name.into(),
        kind: Kind::Jwt { keys, times: Times { leeway_ms: s.leeway.0, expiry: s.expiry } },
        mapping,
        from: sources(&s.from, problems),
        matching: s.matching.clone(),
        missing: on_missing(&s.missing, problems),
        failed: on_failed(&s.failed, problems),
        expiry: s.close_on_expiry.then_some(Expiry::new(s.warn_before)),
    })
}

fn hmac(
    name: &str,
    s: &HmacSettings,
    tables: &Tables,
    resolve: Resolve<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Authenticator> {
    let mapping = Mapping {
        user: vec!["userId".into()],
        roles: s.roles.clone(),
        require: Vec::new(),
        forbid: Vec::new(),
        any_audience: true,
        table: table(s.table.as_deref(), tables, problems),
        table_key: None,
        defaults: s.defaults.clone(),
        unknown: s.unknown,
    };
    if s.ttl.0 == 0 {
        problems.push(Problem::new("ttl", "a token that never counts").expected("a duration such as \"10m\""));
    }
    let from = sources(&s.from, problems);
    let (missing, failed) = (on_missing(&s.missing, problems), on_failed(&s.failed, problems));
    let secret = match resolve(&s.secret, Purpose::Verify) {
        Ok(secret) if secret.expose().is_empty() => Err("an empty secret".to_string()),
        other => other,
    };
    let secret = secret.map_err(|why| problems.push(Problem::new("secret", why))).ok()?;
    Some(Authenticator {
        name: name.into(),
        kind: Kind::Hmac(Stamp { secret, ttl_ms: s.ttl.0, skew_ms: s.skew.0 }),
        mapping,
        from,
        matching: Vec::new(),
        missing,
        failed,
        expiry: s.close_on_expiry.then_some(Expiry::new(s.warn_before)),
    })
}

fn sources(from: &[String], problems: &mut Vec<Problem>) -> Vec<Source> {
    if from.is_empty() {
        problems
            .push(Problem::new("from", "no place to find a token in").expected("such as `query:token` or `bearer`"));
    }
    let parsed = from.iter().enumerate().map(|(at, text)| Source::parse(text, format!("from[{at}]")));
    parsed.filter_map(|s| s.map_err(|p| problems.push(p)).ok()).collect()
}

fn table(name: Option<&str>, tables: &Tables, problems: &mut Vec<Problem>) -> Option<Arc<Table>> {
    let name = name?;
    let found = tables.get(name).cloned();
    if found.is_none() {
        problems.push(
            Problem::new("table", format!("unknown table `{name}`"))
                .expected("the name of a `[table.NAME]` of this app")
                .hint(did_you_mean(name, tables.names())),
        );
    }
    found
}
