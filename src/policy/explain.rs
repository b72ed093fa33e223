//! Why a decision came out as it did, for operators.

use super::class::Match;
use super::decide::{Asking, Policy};
use super::permit::RightKind;
use super::rule::{Names, Rule};
use crate::model::{ChannelName, Refusal};

/// A decision, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The class's pattern; `None`: no class, so the channel does not exist.
    pub class: Option<String>,
    /// The pattern's variables.
    pub vars: Vec<(String, String)>,
    /// `channels/clinic.toml:41:13 subscribe`, or that there is no rule.
    pub origin: String,
    /// The rule, taken apart; `None`: there is none.
    pub rule: Option<Part>,
    pub allowed: bool,
    /// Why the rule came to nothing.
    pub error: Option<String>,
    /// What the client reads.
    pub refusal: Option<Refusal>,
    /// What an allowed alias leads to.
    pub alias: Option<Box<Explanation>>,
}

/// A part of a rule and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
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
            return Explanation {
                class: None,
                vars: Vec::new(),
                origin: format!("no class matches `{name}`"),
                rule: None,
                allowed: false,
                error: None,
                refusal: Some(Refusal::new(crate::model::Code::UnknownChannel)),
                alias: None,
            };
        };
        let verdict = found.verdict(right, asking);
        let mut explanation = Explanation {
            class: Some(found.class.pattern.text().into()),
            vars: found.vars().map(|(name, value)| (name.into(), value.into())).collect(),
            origin: found.class.ruled(right).origin.to_string(),
            rule: found.class.ruled(right).rule.as_ref().map(|rule| self.part(rule.text(), &found, asking)),
            allowed: verdict == Ok(true),
            error: verdict.as_ref().err().map(ToString::to_string),
            refusal: None,
            alias: None,
        };
        if !explanation.allowed {
            explanation.refusal = Some(found.refusal(right, asking, verdict.err().as_ref()));
        } else if found.class.is_alias() {
            match self.resolve(name, asking.identity) {
                Ok(target) => {
                    let target = self.explain_target(right, &target, asking);
                    explanation.allowed = target.allowed;
                    explanation.refusal = target.refusal.clone();
                    explanation.alias = Some(Box::new(target));
                }
                Err(refusal) => {
                    explanation.allowed = false;
                    explanation.refusal = Some(refusal);
                }
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
            Some(found) if found.class.is_alias() => Explanation {
                class: Some(found.class.pattern.text().into()),
                vars: Vec::new(),
                origin: format!("`{name}` is an alias itself"),
                rule: None,
                allowed: false,
                error: None,
                refusal: Some(Refusal::new(crate::model::Code::UnknownChannel)),
                alias: None,
            },
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
