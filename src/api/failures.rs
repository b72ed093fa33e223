//! API keys and routes' secrets that were wrong: logged, and counted by address, as connection attempts are.
//!
//! Whoever guesses gets as many tries as `limits.attempts_per_ip` allows, then no credentials of that address are looked
//! at until time has passed: a good guess among them would not be told from a bad one. Right ones cost nothing.

use super::fail::{Fail, Why};
use super::handle::Context;
use super::keys::ApiKey;
use super::request::Request;
use crate::observe::LimitName;

impl<G> Context<G> {
    /// The API key that a request shows; `None` where it shows nothing.
    pub(super) fn key(&self, request: &Request) -> Result<Option<&ApiKey>, Fail> {
        if !request.headers.contains_key(hyper::header::AUTHORIZATION) {
            return Ok(None);
        }
        self.may_show(request)?;
        let Some(key) = self.site.keys.find(request) else {
            self.was_wrong(request, "an API key");
            return Err(Fail::new(Why::Unauthorized, "The API key is not known"));
        };
        Ok(Some(key))
    }

    /// As `key`, for what needs one.
    pub(super) fn required_key(&self, request: &Request) -> Result<&ApiKey, Fail> {
        let missing = || Fail::new(Why::Unauthorized, "An API key is required: `Authorization: Bearer KEY`");
        self.key(request)?.ok_or_else(missing)
    }

    /// Whether credentials from this address are looked at.
    pub(super) fn may_show(&self, request: &Request) -> Result<(), Fail> {
        if !self.counts(request) {
            return Ok(());
        }
        let rate = self.generation.limits.attempts_per_ip;
        self.state.rates.may_show(request.ip, rate, request.now.mono).map_err(|wait_s| {
            self.metrics.limit(LimitName::AttemptsPerIp, 1);
            let detail = format!("Too many wrong credentials from this address; try again in {wait_s} s");
            Fail { retry_after_s: Some(wait_s), ..Fail::new(Why::RateLimited, detail) }
        })
    }

    /// `what`: was shown, and is wrong.
    pub(super) fn was_wrong(&self, request: &Request, what: &'static str) {
        let Request { ip, listener, path, .. } = request;
        let path = path.escape_debug().to_string();
        tracing::info!(%ip, listener = &**listener, path, "{what} is wrong");
        if self.counts(request) {
            self.state.rates.was_wrong(*ip, self.generation.limits.attempts_per_ip, request.now.mono);
        }
    }

    fn counts(&self, request: &Request) -> bool {
        self.generation.limits.attempts_loopback || !request.ip.is_loopback()
    }
}
