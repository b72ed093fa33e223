//! What came, against what a test expects: messages, answers, states, and what nobody looked at.

use super::client::Heard;
use super::diff;
use super::expect;
use super::play::{Player, object};
use super::script::{Exchange, Expected};
use super::web;
use super::words::fill;
use crate::api::TestCaller;
use crate::model::{Identity, Refusal};
use serde_json::Value;
use std::sync::Arc;

impl Player {
    pub fn hear(&mut self, who: &str, expected: &Expected) -> Result<(), String> {
        let number = self.number(who)?;
        let heard = &mut self.world.clients[number].heard;
        if let Expected::Nothing = expected {
            return match heard.front() {
                None => Ok(()),
                Some((line, heard)) => Err(format!("{who} has heard, after line {line}: {heard}")),
            };
        }
        if let Expected::Json { text, later: true } = expected {
            let want: Value = json(&fill(text, &self.captured)?)?;
            let captured = &mut self.captured;
            let fits = |heard: &Heard| match heard {
                Heard::Text(text) => match serde_json::from_str(text) {
                    Ok(got) => {
                        // What is captured on the way to something else must not stay.
                        let mut copy = captured.clone();
                        let fits = expect::json(&want, &got, &mut copy).is_ok();
                        if fits {
                            *captured = copy;
                        }
                        fits
                    }
                    Err(_) => false,
                },
                Heard::Closed(_) => false,
            };
            let at = heard.iter().map(|(_, heard)| heard).position(fits);
            return match at {
                Some(at) => {
                    heard.remove(at);
                    Ok(())
                }
                None => Err(told(&format!("{who} has heard"), heard.iter().map(|(_, heard)| heard))),
            };
        }
        let Some((_, heard)) = heard.pop_front() else { return Err(format!("{who} has heard nothing more")) };
        match (expected, heard) {
            (Expected::Json { text, .. }, Heard::Text(got)) => {
                let text = fill(text, &self.captured)?;
                self.is(Some(&text), Some(&got), "the message")
            }
            (Expected::Raw(text), Heard::Text(got)) if fill(text, &self.captured)? == got => Ok(()),
            (Expected::Closed { code, reason }, Heard::Closed(close))
                if *code == close.code && reason.as_deref().is_none_or(|r| r == close.reason) =>
            {
                Ok(())
            }
            (_, heard) => Err(format!("{who} has heard: {heard}")),
        }
    }

    pub fn request(&mut self, exchange: &Exchange) -> Result<(), String> {
        let fill = |text: &str| fill(text, &self.captured);
        let caller = match exchange.caller.as_deref() {
            None => TestCaller::Trusted(None),
            Some("nobody") => TestCaller::Nobody,
            Some(text) if text.starts_with('{') => {
                TestCaller::Trusted(Some(Arc::new(Identity::described(object(&fill(text)?)?))))
            }
            Some(who) => {
                let number = self.number(who)?;
                TestCaller::Trusted(Some(self.world.clients[number].identity.clone()))
            }
        };
        let (target, body) = (fill(&exchange.target)?, fill(&exchange.body)?);
        let headers = exchange.headers.iter().map(|(name, value)| Ok((name.clone(), fill(value)?)));
        let headers = headers.collect::<Result<Vec<_>, String>>()?;
        let reply = fill(&exchange.reply)?;
        let got = match &exchange.upgrades {
            Some(who) => self.upgrade(who, &target, &headers, exchange)?,
            None => web::request(self, (&exchange.method, &target), &headers, &body, &caller)?,
        };
        if got.status != exchange.status {
            return Err(format!("it was answered with {} {}", got.status, got.body));
        }
        if !reply.is_empty() {
            self.is(Some(&reply), Some(&got.body), "the answer")?;
        }
        for (name, value) in &exchange.reply_headers {
            let came = got.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
            expect::text(value, came, &mut self.captured).map_err(|e| format!("header {name}: {e}"))?;
        }
        Ok(())
    }

    /// JSON texts; `None`: none.
    pub fn is(&mut self, expected: Option<&str>, got: Option<&str>, what: &str) -> Result<(), String> {
        let (want, got) = match (expected, got) {
            (None, None) => return Ok(()),
            (None, Some(got)) => return Err(format!("{what} is there: {got}")),
            (Some(_), None) => return Err(format!("{what} is not there")),
            (Some(want), Some(got)) => (json(want)?, got),
        };
        let Ok(got) = serde_json::from_str(got) else { return Err(format!("{what} is no JSON: {got}")) };
        let lines = || diff::lines(&want, &got).join("\n");
        expect::json(&want, &got, &mut self.captured)
            .map_err(|_| format!("{what} differs (- expected, + came):\n{}", lines()))
    }

    /// At the end nothing may be left that nobody looked at.
    pub fn left(&mut self) -> Result<(), (u32, String)> {
        if let Some((line, refusal)) = self.refused.take() {
            return Err((line, format!("the publication was refused: {}", said(&refusal))));
        }
        let seen = self.world.parts.seen.all();
        let mut left: Vec<(u32, String)> = Vec::new();
        left.extend(seen.faults.iter().map(|(line, fault)| (*line, format!("a handler failed: {fault}"))));
        for (who, number) in &self.people {
            let heard = self.world.clients[*number].heard.iter();
            left.extend(heard.map(|(line, heard)| (*line, format!("{who} has heard, and nobody looked: {heard}"))));
        }
        let webhooks = seen.webhooks.iter();
        left.extend(webhooks.map(|(line, name, body)| (*line, format!("webhook `{name}` was asked for: {body}"))));
        left.sort_by_key(|(line, _)| *line);
        match left.first() {
            None => Ok(()),
            Some((line, _)) => {
                let all: Vec<String> = left.iter().map(|(_, what)| what.clone()).collect();
                Err((*line, format!("left over at the end:\n{}", all.join("\n"))))
            }
        }
    }
}

pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("the test itself has no JSON here: {e}: {text}"))
}

pub(super) fn said(refusal: &Refusal) -> String {
    let name = refusal.name.as_deref().unwrap_or(refusal.code.as_str());
    format!("{name} \"{}\"", refusal.message.as_deref().unwrap_or(refusal.code.text()))
}

pub(super) fn told(what: &str, lines: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("\n{line}")).collect();
    match lines.is_empty() {
        true => format!("{what}: nothing"),
        false => format!("{what}:{}", lines.concat()),
    }
}
