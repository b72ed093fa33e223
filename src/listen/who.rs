//! Which of the candidate endpoints takes an upgrade, and who its client is.
//!
//! A token that is presented and does not verify is never taken for "no token": where an endpoint that asks for one
//! would have answered it, that endpoint answers, unless another verifies it.

use super::router::Candidate;
use crate::auth::{Action, Authenticator, Credentials, Outcome, Peek};
use crate::flow::Generation;
use crate::model::{Close, Identity, Now};
use crate::observe::AuthOutcome;
use std::borrow::Cow;
use std::sync::Arc;

/// What follows from the credentials.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// `None`: the first message is to tell who it is.
    Open(Option<Arc<Identity>>),
    /// Upgrade, then close.
    Close(Close),
    /// 401.
    Reject,
    /// 503: it could not be decided, which is no refusal.
    Unavailable,
}

/// A candidate's place in the list, what follows, and why, for the log.
#[derive(Debug, PartialEq)]
pub struct Decision {
    pub candidate: usize,
    pub verdict: Verdict,
    /// `None`: the first message will tell.
    pub outcome: Option<AuthOutcome>,
    pub reason: Cow<'static, str>,
    /// A token said who it is: nobody else can say the same.
    pub proven: bool,
}

/// Tries the candidates in order; `None` where there is none.
pub async fn decide(
    candidates: &[Candidate<'_>],
    generation: &Generation,
    credentials: &Credentials<'_>,
    now: Now,
) -> Option<Decision> {
    // An endpoint that cannot tell goes before one that says no, and behind one that knows who it is.
    let mut unsure: Option<Decision> = None;
    let (mut failed, mut passed): (Option<Decision>, Option<Decision>) = (None, None);
    for (candidate, c) in candidates.iter().enumerate() {
        let Some(endpoint) = generation.app(c.app).and_then(|app| app.endpoint(c.endpoint)) else { continue };
        let auth = &endpoint.auth;
        let missing = || {
            let verdict = missing(auth);
            let outcome = match &verdict {
                Verdict::Open(None) => None,
                Verdict::Open(Some(_)) => Some(AuthOutcome::Anonymous),
                Verdict::Close(_) | Verdict::Reject | Verdict::Unavailable => Some(AuthOutcome::Missing),
            };
            Decision { candidate, verdict, outcome, reason: "no token".into(), proven: false }
        };
        let failure = |by: &Authenticator, reason| {
            let (verdict, outcome) = (verdict(by.on_failed()), Some(AuthOutcome::Failed));
            Decision { candidate, verdict, outcome, reason, proven: false }
        };
        let open = |by: &Authenticator, reason| {
            let (verdict, outcome) = (unavailable(by.on_failed()), Some(AuthOutcome::Unavailable));
            Decision { candidate, verdict, outcome, reason, proven: false }
        };
        if !c.has.is_empty() {
            match peek(auth, c.has, credentials, now).await {
                (Peek::Has, _) => {}
                (Peek::Unavailable, Some(by)) => {
                    unsure.get_or_insert_with(|| open(by, "the token cannot be verified now".into()));
                    continue;
                }
                (Peek::Failed, Some(by)) => {
                    failed.get_or_insert_with(|| failure(by, "the token does not verify".into()));
                    continue;
                }
                (Peek::HasNot, Some(by)) => {
                    passed.get_or_insert_with(|| failure(by, "the token lacks a claim of this endpoint".into()));
                    continue;
                }
                _ => {
                    passed.get_or_insert_with(missing);
                    continue;
                }
            }
        }
        return Some(match authenticate(auth, credentials, now).await {
            Found::Identity(by, identity) => {
                let (verdict, outcome) = (Verdict::Open(Some(identity)), Some(AuthOutcome::Identified));
                Decision { candidate, verdict, outcome, reason: Cow::Borrowed(""), proven: by.takes_tokens() }
            }
            Found::Unavailable(by, reason) => unsure.unwrap_or_else(|| open(by, reason)),
            Found::Missing => unsure.or(failed).unwrap_or_else(missing),
            Found::Failed(by, reason) if !c.has.is_empty() => failure(by, reason),
            Found::Failed(by, reason) => unsure.or(failed).unwrap_or_else(|| failure(by, reason)),
        });
    }
    unsure.or(failed).or(passed)
}

/// The first authenticator that finds a token says whether it verifies with all the claims.
async fn peek<'a>(
    auth: &'a [Arc<Authenticator>],
    has: &[String],
    credentials: &Credentials<'_>,
    now: Now,
) -> (Peek, Option<&'a Authenticator>) {
    for by in auth {
        let mut all = Peek::Has;
        for claim in has {
            all = by.peek(credentials, claim, now).await;
            if all != Peek::Has {
                break;
            }
        }
        if all != Peek::Missing {
            return (all, Some(by));
        }
    }
    (Peek::Missing, None)
}

enum Found<'a> {
    Identity(&'a Authenticator, Arc<Identity>),
    Missing,
    Failed(&'a Authenticator, Cow<'static, str>),
    Unavailable(&'a Authenticator, Cow<'static, str>),
}

async fn authenticate<'a>(auth: &'a [Arc<Authenticator>], credentials: &Credentials<'_>, now: Now) -> Found<'a> {
    for by in auth {
        match by.authenticate(credentials, now).await {
            Outcome::Identity(identity) => return Found::Identity(by, identity),
            Outcome::Failed { reason, .. } => return Found::Failed(by, reason),
            Outcome::Unavailable { reason } => return Found::Unavailable(by, reason),
            Outcome::Missing => {}
        }
    }
    Found::Missing
}

/// No token: an authenticator that takes one from messages waits for the first message, unless it lets nobody in as
/// well; else the first authenticator decides.
fn missing(auth: &[Arc<Authenticator>]) -> Verdict {
    match auth.iter().find(|a| a.takes_messages()).or(auth.first()) {
        None => Verdict::Open(Some(Identity::anonymous())),
        Some(by) if by.takes_messages() && *by.on_missing() != Action::Anonymous => Verdict::Open(None),
        Some(by) => verdict(by.on_missing()),
    }
}

/// Clients of an endpoint that tells failed tokens by a close read closes, not statuses: they get one that they come
/// back from.
fn unavailable(on_failed: &Action) -> Verdict {
    match on_failed {
        Action::Close(_) => Verdict::Close(Close::UNAVAILABLE),
        Action::Anonymous | Action::Reject | Action::Retry => Verdict::Unavailable,
    }
}

fn verdict(action: &Action) -> Verdict {
    match action {
        Action::Anonymous => Verdict::Open(Some(Identity::anonymous())),
        Action::Reject | Action::Retry => Verdict::Reject,
        Action::Close(close) => Verdict::Close(close.clone()),
    }
}
