//! API keys: who may use which verbs, on which apps and channels.

use super::fail::{Fail, Why};
use super::once::Owner;
use super::request::Request;
use super::settings::ApiKeySettings;
use super::verb::Verb;
use crate::auth::{Purpose, Resolve};
use crate::model::{Problem, did_you_mean, one_of};
use crate::policy::Scope;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All of `[api_key.*]`.
#[derive(Debug, Default)]
pub struct Keys(Vec<ApiKey>);

pub(super) struct ApiKey {
    name: Arc<str>,
    fingerprint: Fingerprint,
    /// `None`: all.
    apps: Option<Vec<String>>,
    verbs: Option<Vec<Verb>>,
    /// Its verbs name `admin`.
    admin: bool,
    scope: Scope,
    idempotency_keys: usize,
}

/// The word for what concerns the gateway itself: its files.
const ADMIN: &str = "admin";

/// A secret's SHA-256. Comparing two of them takes the same time wherever they differ, and says nothing of lengths.
#[derive(Clone, Copy)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(secret: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(secret).into())
    }

    pub fn is(&self, other: &Fingerprint) -> bool {
        std::hint::black_box(self.0.iter().zip(other.0).fold(0, |all, (a, b)| all | (a ^ b))) == 0
    }
}

impl Keys {
    /// `apps`: the names that keys may name. Paths of problems: `NAME.verbs[0]`.
    pub fn compile(
        settings: &BTreeMap<String, ApiKeySettings>,
        apps: &[&str],
        resolve: Resolve<'_>,
    ) -> Result<Keys, Vec<Problem>> {
        let (mut keys, mut problems): (Vec<ApiKey>, _) = (Vec::new(), Vec::new());
        for (name, s) in settings {
            let path = name.as_str();
            for (at, app) in s.apps.iter().enumerate().filter(|(_, a)| *a != "*" && !apps.contains(&a.as_str())) {
                problems.push(
                    Problem::new(format!("{path}.apps[{at}]"), format!("unknown app `{app}`"))
                        .expected("the name of a file in channels/, or `*`")
                        .hint(did_you_mean(app, apps.iter().copied())),
                );
            }
            let mut verbs = Vec::new();
            for (at, word) in s.verbs.iter().enumerate().filter(|(_, w)| !["*", ADMIN].contains(&w.as_str())) {
                match Verb::parse(word) {
                    Some(verb) => verbs.push(verb),
                    None => problems.push(unknown_verb(format!("{path}.verbs[{at}]"), word, &[ADMIN, "*"])),
                }
            }
            let scope = Scope::compile(&s.channels, &format!("{path}.channels"));
            let scope = scope.map_err(|p| problems.extend(p)).unwrap_or_default();
            let fingerprint = match resolve(&s.secret, Purpose::Verify) {
                Ok(secret) if secret.expose().is_empty() => Err("an empty secret".to_owned()),
                Ok(secret) => Ok(Fingerprint::of(secret.expose())),
                Err(why) => Err(why),
            };
            let fingerprint = match fingerprint {
                Ok(fingerprint) => fingerprint,
                Err(why) => {
                    problems.push(Problem::new(format!("{path}.secret"), why));
                    continue;
                }
            };
            if let Some(other) = keys.iter().find(|k| k.fingerprint.is(&fingerprint)) {
                let what = format!("the same secret as `api_key.{}`", other.name);
                problems.push(Problem::new(format!("{path}.secret"), what).expected("a secret of its own"));
            }
            let all = |list: &[String]| list.iter().any(|word| word == "*");
            keys.push(ApiKey {
                name: name.as_str().into(),
                fingerprint,
                apps: (!all(&s.apps)).then(|| s.apps.clone()),
                admin: s.verbs.iter().any(|w| w == ADMIN),
                verbs: (!all(&s.verbs)).then_some(verbs),
                scope,
                idempotency_keys: s.idempotency_keys as usize,
            });
        }
        if problems.is_empty() { Ok(Keys(keys)) } else { Err(problems) }
    }

    /// The key that a request shows, where it is one of these.
    pub(super) fn find(&self, request: &Request) -> Option<&ApiKey> {
        let shown = Fingerprint::of(request.bearer().unwrap_or_default().as_bytes());
        // All are compared, whichever is the one.
        self.0.iter().fold(None, |found, key| if key.fingerprint.is(&shown) { Some(key) } else { found })
    }
}

impl ApiKey {
    pub fn covers_app(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.iter().any(|a| a == app))
    }

    /// Its channels and its name, where it covers this verb of this app. `None`: no verb, only the app.
    pub fn allows(&self, app: &str, verb: Option<Verb>) -> Result<(Scope, Arc<str>), Fail> {
        let refused = |what: String| Err(Fail::new(Why::Forbidden, format!("The key does not cover {what}")));
        if !self.covers_app(app) {
            return refused(format!("app `{app}`"));
        }
        if let (Some(verbs), Some(verb)) = (&self.verbs, verb)
            && !verbs.contains(&verb)
        {
            return refused(format!("`{}`", verb.as_str()));
        }
        Ok((self.scope.clone(), self.name.clone()))
    }
}

impl ApiKey {
    /// Its name, where it covers the gateway itself: no part of what it serves may be left out.
    pub fn allows_admin(&self) -> Result<Arc<str>, Fail> {
        match self.apps.is_none() && self.scope == Scope::everywhere() && (self.verbs.is_none() || self.admin) {
            true => Ok(self.name.clone()),
            false => Err(Fail::new(Why::Forbidden, "The key does not cover `admin` of all apps and channels")),
        }
    }

    /// Whose idempotency keys those of its requests are.
    pub fn owner(&self) -> Owner {
        Owner { name: self.name.clone(), keys_max: self.idempotency_keys }
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "ApiKey({})", self.name)
    }
}

pub(super) fn unknown_verb(path: String, word: &str, also: &[&'static str]) -> Problem {
    let words = || Verb::ALL.iter().map(|v| v.as_str()).chain(also.iter().copied());
    Problem::new(path, format!("unknown verb `{word}`")).expected(one_of(words())).hint(did_you_mean(word, words()))
}
