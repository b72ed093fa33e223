//! `[webhook.NAME]` of an app's file, as written and as used.

use super::sign::Key;
use crate::auth::{HeaderSetting, Purpose, Resolve, address};
use crate::model::{Ms, Problem, SecretSource, Size};
use hyper::Uri;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, USER_AGENT,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `[webhook.NAME]`: a service that handlers' `webhook(NAME, data)` calls, at least once each.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// An http or https address, as text or as a secret. `""`: off, calls are counted and go nowhere, and `secret` may be missing.
    pub url: UrlSetting,
    /// What calls are signed with (Standard Webhooks): the bytes as they are, or base64 behind `whsec_`.
    pub secret: Option<SecretSource>,
    /// Further headers, as text or as a secret.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderSetting>,
    /// How long one call may take. Default `"10s"`.
    #[serde(default = "ten_seconds")]
    pub timeout: Ms,
    /// When a call that failed is made again.
    #[serde(default)]
    pub retry: Retry,
    /// How long a call is tried; then it is given up, counted and logged. Default `"24h"`.
    #[serde(default = "one_day")]
    pub give_up_after: Ms,
    /// Calls under way at once; a service that hangs holds up no more than these. Default 4.
    #[serde(default = "four")]
    pub concurrency: u16,
    /// Calls that wait at most; beyond, a handler that makes one more is refused with `overloaded`. Default 10,000.
    #[serde(default = "ten_thousand")]
    pub pending_max: u32,
    /// Bytes of calls that wait at most; beyond, the same. Default `"64MiB"`.
    #[serde(default = "pending_bytes")]
    pub pending_bytes: Size,
}

/// An address.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UrlSetting {
    /// As written.
    Text(String),
    /// A secret: some services have their key in the address.
    Secret(SecretSource),
}

/// Waits double from `first` to `max`, less up to half of it by chance. A `Retry-After` of the service counts instead,
/// within the same bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The first wait. Default `"1s"`.
    pub first: Ms,
    /// The longest. Default `"5m"`.
    pub max: Ms,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { first: Ms::secs(1), max: Ms::secs(300) }
    }
}

fn ten_seconds() -> Ms {
    Ms::secs(10)
}
fn one_day() -> Ms {
    GIVE_UP_AFTER
}
fn four() -> u16 {
    4
}
fn ten_thousand() -> u32 {
    10_000
}
fn pending_bytes() -> Size {
    Size(64 << 20)
}

/// The default of `give_up_after`; also for parcels whose webhook is in no file.
pub(super) const GIVE_UP_AFTER: Ms = Ms::secs(86_400);

/// A webhook that is ready to be called. Says nothing of its address, its headers and its secret when printed.
pub struct Webhook {
    /// Its address is empty: nobody is called.
    pub(super) is_off: bool,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) key: Option<Key>,
    pub(super) timeout: Ms,
    pub(super) retry: Retry,
    pub(super) give_up_after: Ms,
    pub(super) concurrency: u16,
    pub(super) pending_max: u32,
    pub(super) pending_bytes: Size,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

/// Headers that are made for each call, or belong to the connection.
const RESERVED: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TRANSFER_ENCODING,
    super::attempt::ID,
    super::attempt::TIMESTAMP,
    super::attempt::SIGNATURE,
];

/// All that is wrong with it at once. Paths are relative to `[webhook.NAME]`.
pub fn compile(settings: &Settings, resolve: Resolve<'_>) -> Result<Webhook, Vec<Problem>> {
    let mut problems = Vec::new();
    let uri = url(&settings.url, resolve).map_err(|p| problems.push(p)).unwrap_or_default();
    let headers = headers(&settings.headers, resolve, &mut problems);
    let is_off = matches!(&settings.url, UrlSetting::Text(text) if text.is_empty());
    // Nothing is signed where nothing is sent: its secret may be missing.
    let key = settings.secret.as_ref().filter(|_| !is_off).and_then(|from| {
        let read = resolve(from, Purpose::Verify).and_then(|secret| Key::new(&secret).map_err(Into::into));
        read.map_err(|why| problems.push(Problem::new("secret", why))).ok()
    });
    problems.extend(zeros(settings));
    let Retry { first, max } = settings.retry;
    if first > max {
        let what = format!("the first wait is longer than the longest: {}ms, and {}ms", first.0, max.0);
        problems.push(Problem::new("retry.first", what).expected("`first` up to `max`"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Webhook {
        is_off,
        uri,
        headers,
        key,
        timeout: settings.timeout,
        retry: settings.retry,
        give_up_after: settings.give_up_after,
        concurrency: settings.concurrency,
        pending_max: settings.pending_max,
        pending_bytes: settings.pending_bytes,
    })
}

fn url(setting: &UrlSetting, resolve: Resolve<'_>) -> Result<Uri, Problem> {
    let bad = |what: &str| Problem::new("url", what).expected("such as `https://crm.example/hooks/weir`");
    match setting {
        UrlSetting::Text(text) if text.is_empty() => Ok(Uri::default()),
        UrlSetting::Text(text) => address(text).map_err(bad),
        UrlSetting::Secret(from) => {
            let secret = resolve(from, Purpose::Send).map_err(|why| Problem::new("url", why))?;
            let text = std::str::from_utf8(secret.expose()).map_err(|_| bad("not an address"))?;
            address(text.trim()).map_err(bad)
        }
    }
}

fn headers(written: &BTreeMap<String, HeaderSetting>, resolve: Resolve<'_>, problems: &mut Vec<Problem>) -> HeaderMap {
    let agent = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(USER_AGENT, agent), (CONTENT_TYPE, json)]);
    for (name, value) in written {
        match header(name, value, resolve) {
            Ok((name, value)) => drop(headers.insert(name, value)),
            Err(problem) => problems.push(problem),
        }
    }
    headers
}

fn header(name: &str, value: &HeaderSetting, resolve: Resolve<'_>) -> Result<(HeaderName, HeaderValue), Problem> {
    let bad = |what: String| Problem::new(format!("headers.{name}"), what);
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("not a header's name".into()))?;
    if RESERVED.contains(&parsed) {
        return Err(bad(format!("`{parsed}` is made by Weir for each call")));
    }
    let value = match value {
        HeaderSetting::Text(text) => HeaderValue::from_str(text),
        HeaderSetting::Secret(from) => HeaderValue::from_bytes(resolve(from, Purpose::Send).map_err(bad)?.expose()),
    };
    let mut value = value.map_err(|_| bad("a value that no header may have".into()))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

fn zeros(s: &Settings) -> impl Iterator<Item = Problem> {
    let numbers = [
        ("timeout", s.timeout.0, "such as `\"10s\"`"),
        ("retry.first", s.retry.first.0, "such as `\"1s\"`"),
        ("retry.max", s.retry.max.0, "such as `\"5m\"`"),
        ("give_up_after", s.give_up_after.0, "such as `\"24h\"`"),
        ("concurrency", s.concurrency.into(), "1 or more"),
        ("pending_max", s.pending_max.into(), "1 or more"),
        ("pending_bytes", s.pending_bytes.0, "such as `\"64MiB\"`"),
    ];
    let zeros = numbers.into_iter().filter(|(_, number, _)| *number == 0);
    zeros.map(|(path, _, expected)| Problem::new(path, "nothing could ever be delivered with 0").expected(expected))
}
