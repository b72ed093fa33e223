//! Why a decision came out as it did, for operators.

use super::class::Match;
use super::decide::{Asking, Policy};
use super::permit::RightKind;
use super::rule::{Names, Rule};
use crate::model::{ChannelName, Code, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A decision, taken apart; also as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    pub allowed: bool,
    /// The class's pattern; null: no class, so the channel does not exist.
    pub class: Option<String>,
    /// The pattern's variables, in its order.
    #[serde(with = "pairs")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub vars: Vec<(String, String)>,
    /// `channels/clinic.toml:41:13 subscribe`, or that there is no rule.
    #[serde(rename = "rule")]
    pub origin: String,
    /// The rule, taken apart; null: there is none.
    #[serde(rename = "expression")]
    pub rule: Option<Part>,
    /// Why the rule came to nothing.
    pub error: Option<String>,
    /// What the client reads where it is refused, unless its dialect has another word.
    pub code: Option<Code>,
    /// The text beside it, where the class has one.
    pub message: Option<String>,
    /// What an allowed alias leads to.
    pub alias: Option<Box<Explanation>>,
}

/// A part of a rule and its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    pub text: String,
    /// As JSON, so that 7 and "7" do not look alike; `()` for what is missing; or what went wrong.
    pub value: String,
    /// Sides of `||`, `&&` and comparisons.
    pub parts: Vec<Part>,
}

impl Explanation {
    /// The part of it that decided: an alias that is allowed leaves the verdict to what it leads to.
    pub fn deciding(&self) -> &Explanation {
        self.alias.as_deref().unwrap_or(self)
    }

    /// In one line, the comparisons of the rule and what they came to:
    /// `user.role == "admin" is false ("sales_staff"); user.clinicId == clinicId is false ("c1", "c2")`.
    pub fn trace(&self) -> String {
        let mut told = Vec::new();
        if let Some(rule) = &self.rule {
            rule.trace(&mut told);
        }
        told.extend(self.error.clone());
        told.join("; ")
    }

    /// A channel that does not exist.
    fn unknown(class: Option<String>, origin: String) -> Explanation {
        Explanation {
            allowed: false,
            class,
            vars: Vec::new(),
            origin,
            rule: None,
            error: None,
            code: Some(Code::UnknownChannel),
            message: None,
            alias: None,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.allowed = false;
        (self.code, self.message) = (Some(refusal.code), refusal.message.map(Into::into));
    }
}

/// Pairs as one object, in their order.
mod pairs {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::{Map, Value};

    pub fn serialize<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(pairs.iter().map(|(name, value)| (name, value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
        let text = |value| if let Value::String(text) = value { Some(text) } else { None };
        let members = Map::<String, Value>::deserialize(from)?;
        let pairs = members.into_iter().map(|(name, value)| Some((name, text(value)?)));
        pairs.collect::<Option<_>>().ok_or_else(|| D::Error::custom("a text for each variable is expected"))
    }
}

impl Part {
    fn trace(&self, told: &mut Vec<String>) {
        let compound = self.parts.iter().any(|p| !p.parts.is_empty()) || self.value.is_empty();
        if compound {
            return self.parts.iter().for_each(|p| p.trace(told));
        }
        // A literal's value is its text, which is there already.
        let literal = |p: &Part| p.text == p.value || p.text.starts_with(['"', '`', '\'']);
        let values: Vec<&str> = self.parts.iter().filter(|p| !literal(p)).map(|p| p.value.as_str()).collect();
        let value = if self.value == "()" { "undecided" } else { &self.value };
        told.push(match values.is_empty() {
            true if self.text == self.value => format!("it is {value}"),
            true => format!("{} is {value}", self.text),
            false => format!("{} is {value} ({})", self.text, values.join(", ")),
        });
    }
}

impl Policy {
    /// As `Explanation::trace`, of the rule that a refusal names; for log lines at level `debug`.
    pub fn trace(&self, name: &str, refusal: &Refusal, asking: &Asking<'_>) -> Option<String> {
        let (name, rule) = (ChannelName::parse(name).ok()?, refusal.rule.as_deref()?);
        let each = RightKind::ALL.into_iter().map(|right| self.explain(right, &name, asking));
        let mut found = each.filter(|e| rule.starts_with(&*e.deciding().origin));
        found.next().map(|e| e.deciding().trace()).filter(|t| !t.is_empty())
    }

    /// The decision on `name`, with its reasons. Slow: it compiles each part of the rule anew.
    pub fn explain(&self, right: RightKind, name: &ChannelName, asking: &Asking<'_>) -> Explanation {
        let Some(found) = self.find(name) else {
            return Explanation::unknown(None, format!("no class matches `{name}`"));
        };
        let verdict = found.verdict(right, asking);
        let mut explanation = Explanation {
            class: Some(found.class.pattern.text().into()),
            vars: found.vars().map(|(name, value)| (name.into(), value.into())).collect(),
            origin: found.class.ruled(right).origin.to_string(),
            rule: found.class.ruled(right).rule.as_ref().map(|rule| self.part(rule.text(), &found, asking)),
            allowed: verdict == Ok(true),
            error: verdict.as_ref().err().map(ToString::to_string),
            code: None,
            message: None,
            alias: None,
        };
        if !explanation.allowed {
            explanation.refuse(found.refusal(right, asking, verdict.err().as_ref()));
        } else if found.class.is_alias() {
            match self.resolve(name, asking.identity) {
                Ok(target) => {
                    let target = self.explain_target(right, &target, asking);
                    explanation.allowed = target.allowed;
                    (explanation.code, explanation.message) = (target.code, target.message.clone());
                    explanation.alias = Some(Box::new(target));
                }
                Err(refusal) => explanation.refuse(refusal),
            }
        }
        explanation
    }

    fn part(&self, text: &str, found: &Match<'_>, asking: &Asking<'_>) -> Part {
        let text = unwrapped(text.trim());
        let captures: Vec<Option<&str>> = found.class.pattern.wildcards().collect();
        let tables: Vec<&str> = self.tables.iter().map(|t| &**t).collect();
        let rule = Rule::compile_part(text, Names { captures: &captures, tables: &tables });
        let value = match rule.map(|r| r.shown(asking, &found.captures)) {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => error.what,
            // Cut from a rule that was compiled: only a name that stands for no value alone, such as `user`.
            Err(_) => String::new(),
        };
        let parts = sides(text).into_iter().map(|side| self.part(side, found, asking)).collect();
        Part { text: text.into(), value, parts }
    }

    /// An alias leads to a channel, never to another alias.
    fn explain_target(&self, right: RightKind, name: &ChannelName, asking: &Asking<'_>) -> Explanation {
        match self.find(name) {
            Some(found) if found.class.is_alias() => {
                let class = found.class.pattern.text().to_owned();
                Explanation::unknown(Some(class), format!("`{name}` is an alias itself"))
            }
            _ => self.explain(right, name, asking),
        }
    }
}

/// Operators from the loosest to the tightest; `explain` looks no deeper than comparisons.
const LEVELS: [&[&str]; 3] = [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">", " in ", " !in "]];

/// The texts between the loosest operators outside brackets and quotes; none where there is no operator.
fn sides(text: &str) -> Vec<&str> {
    for level in LEVELS {
        let (mut sides, mut start) = (Vec::new(), 0);
        for (at, rest) in outside(text) {
            if let Some(op) = level.iter().filter(|op| rest.starts_with(**op)).max_by_key(|op| op.len())
                && at >= start
            {
                sides.push(text[start..at].trim());
                start = at + op.len();
            }
        }
        if !sides.is_empty() {
            sides.push(text[start..].trim());
            return sides;
        }
    }
    Vec::new()
}

/// Places outside brackets and quotes, with the text from there.
fn outside(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut depth = 0_u32;
    bare(text).filter_map(move |(at, c)| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => return Some((at, &text[at..])),
            _ => {}
        }
        None
    })
}

/// The characters outside quotes.
fn bare(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().filter(move |(_, c)| {
        match (quote, *c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`' | '\'') => quote = Some(*c),
            (None, _) => return true,
        }
        false
    })
}

/// Without brackets around the whole; `(a) && (b)` keeps its own.
fn unwrapped(text: &str) -> &str {
    match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        Some(inner) if balanced(inner) => unwrapped(inner.trim()),
        _ => text,
    }
}

/// Whether no bracket closes that was not opened.
fn balanced(text: &str) -> bool {
    let mut depth = 0_i32;
    bare(text).all(|(_, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    })
}
