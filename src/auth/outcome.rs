//! What became of a token, and what follows from it.

use super::settings::{CloseSettings, FailedWord, MissingWord, OnFailed, OnMissing};
use crate::model::{Close, Identity, Problem};
use std::borrow::Cow;
use std::sync::Arc;

/// What became of the credentials of a request or a message.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Verified.
    Identity(Arc<Identity>),
    /// No token anywhere that settings look.
    Missing,
    /// A token that does not count. `reason` is for logs: it tells what was wrong and never what was in the token.
    Failed { cause: Cause, reason: Cow<'static, str> },
    /// Keys or rows cannot be had at the moment: the token may be good. Never told as a refusal, which clients take for
    /// an order to log out.
    Unavailable { reason: Cow<'static, str> },
}

/// Why a token does not count; for metrics, and for dialects that tell it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Not a token of this kind.
    Malformed,
    /// No key verifies it, or it is signed in a way that is not allowed.
    Signature,
    /// Its end has passed.
    Expired,
    /// Its beginning has not come.
    NotYet,
    /// A claim is missing, forbidden or of the wrong value.
    Claims,
    /// The table does not have the user.
    UnknownUser,
    /// On a live connection: it belongs to somebody else.
    OtherUser,
}

impl Cause {
    /// The stable name that metrics and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Malformed => "malformed",
            Cause::Signature => "signature",
            Cause::Expired => "expired",
            Cause::NotYet => "not_yet",
            Cause::Claims => "claims",
            Cause::UnknownUser => "unknown_user",
            Cause::OtherUser => "other_user",
        }
    }
}

/// Whether the verified token of a request has a claim; tells endpoints of one path apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    Missing,
    Failed,
    Unavailable,
    /// Verified, with the claim.
    Has,
    /// Verified, without it.
    HasNot,
}

/// What happens without a token, or with one that does not count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Let in as nobody.
    Anonymous,
    /// HTTP 401 instead of an upgrade.
    Reject,
    /// Upgraded, then closed.
    Close(Close),
    /// After a message: told so, and may try again until `limits.auth_timeout`. At the upgrade: 401.
    Retry,
}

/// Why a token does not count, inside this room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// `None`: it could not be decided.
    pub cause: Option<Cause>,
    pub reason: Cow<'static, str>,
}

impl Failure {
    pub fn new(cause: Cause, reason: impl Into<Cow<'static, str>>) -> Failure {
        Failure { cause: Some(cause), reason: reason.into() }
    }

    pub fn unavailable(reason: impl Into<Cow<'static, str>>) -> Failure {
        Failure { cause: None, reason: reason.into() }
    }
}

impl From<Result<Identity, Failure>> for Outcome {
    fn from(result: Result<Identity, Failure>) -> Outcome {
        match result {
            Ok(identity) => Outcome::Identity(Arc::new(identity)),
            Err(Failure { cause: Some(cause), reason }) => Outcome::Failed { cause, reason },
            Err(Failure { cause: None, reason }) => Outcome::Unavailable { reason },
        }
    }
}

pub(super) fn on_missing(settings: &OnMissing, problems: &mut Vec<Problem>) -> Action {
    match settings {
        OnMissing::Word(MissingWord::Anonymous) => Action::Anonymous,
        OnMissing::Word(MissingWord::Reject) => Action::Reject,
        OnMissing::Close(c) => Action::Close(close("missing", c, problems)),
    }
}

pub(super) fn on_failed(settings: &OnFailed, problems: &mut Vec<Problem>) -> Action {
    match settings {
        OnFailed::Word(FailedWord::Reject) => Action::Reject,
        OnFailed::Word(FailedWord::Retry) => Action::Retry,
        OnFailed::Close(c) => Action::Close(close("failed", c, problems)),
    }
}

/// RFC 6455 §5.5: a control frame holds 125 bytes, two of them the code. §7.4: codes that may be sent.
fn close(path: &str, settings: &CloseSettings, problems: &mut Vec<Problem>) -> Close {
    if !matches!(settings.close, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        let what = format!("{} is not a code that a close frame may carry", settings.close);
        problems.push(Problem::new(format!("{path}.close"), what).expected("1000, 1008, 1011 or 3000 to 4999"));
    }
    if settings.reason.len() > 123 {
        let what = format!("a close reason of {} bytes", settings.reason.len());
        problems.push(Problem::new(format!("{path}.reason"), what).expected("123 bytes at most"));
    }
    Close { code: settings.close, reason: settings.reason.clone().into() }
}
