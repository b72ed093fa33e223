//! The functions that rules may call, as Rhai names them.

use super::node::Spot;
use super::value::Val;
use super::{JOINED_MAX, RuleError};
use crate::model::one_of;
use std::borrow::Cow;

/// One function; its first argument stands before the dot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Len,
    IsEmpty,
    Contains,
    StartsWith,
    EndsWith,
    ToLower,
    ToUpper,
    Trim,
    Split,
    ToString,
    ParseInt,
}

/// Name, function, number of arguments.
pub(super) const FUNCTIONS: [(&str, Function, usize); 11] = [
    ("len", Function::Len, 1),
    ("is_empty", Function::IsEmpty, 1),
    ("contains", Function::Contains, 2),
    ("starts_with", Function::StartsWith, 2),
    ("ends_with", Function::EndsWith, 2),
    ("to_lower", Function::ToLower, 1),
    ("to_upper", Function::ToUpper, 1),
    ("trim", Function::Trim, 1),
    ("split", Function::Split, 2),
    ("to_string", Function::ToString, 1),
    ("parse_int", Function::ParseInt, 1),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, ..)| *name)
}

pub(super) fn expected() -> String {
    one_of(names())
}

impl Function {
    fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|f| f.1 == self).map_or("", |f| f.0)
    }

    pub fn never_boolean(self) -> Option<&'static str> {
        match self {
            Function::IsEmpty | Function::Contains | Function::StartsWith | Function::EndsWith => None,
            Function::Len | Function::ParseInt => Some("a number"),
            Function::ToLower | Function::ToUpper | Function::Trim | Function::ToString => Some("a text"),
            Function::Split => Some("a list"),
        }
    }

    /// Something missing in, something missing out.
    pub fn call<'a>(self, args: [Val<'a>; 2], count: usize, at: Spot) -> Result<Val<'a>, RuleError> {
        if args[..count].iter().any(|a| matches!(a, Val::Missing)) {
            return Ok(Val::Missing);
        }
        let [of, with] = args;
        let wrong = |what: &str| RuleError::new(at, format!("`{}` does not know {what}", self.name()));
        match (self, of) {
            (Function::Contains, of) => match (of, with) {
                (Val::Text(text), Val::Text(part)) => Ok(Val::Bool(text.contains(&*part))),
                (Val::Text(_), with) => Err(wrong(with.is_a())),
                (of, with) => of.holds(&with).map(Val::from).ok_or_else(|| wrong(of.is_a())),
            },
            (Function::Len, of) => of.len().map(|n| Val::Int(n as i128)).ok_or_else(|| wrong(of.is_a())),
            (Function::IsEmpty, of) => of.len().map(|n| Val::Bool(n == 0)).ok_or_else(|| wrong(of.is_a())),
            (Function::ToString, of) => match of {
                Val::Text(_) => Ok(of),
                of => Ok(Val::Text(Cow::Owned(bounded(of.to_string(), at)?))),
            },
            (Function::ParseInt, Val::Int(n)) => Ok(Val::Int(n)),
            (_, Val::Text(text)) => self.of_text(text, with, at),
            (_, of) => Err(wrong(of.is_a())),
        }
    }

    fn of_text<'a>(self, text: Cow<'a, str>, with: Val<'a>, at: Spot) -> Result<Val<'a>, RuleError> {
        let part = match &with {
            Val::Text(part) => &**part,
            _ => "",
        };
        if !matches!(with, Val::Text(_)) && matches!(self, Function::StartsWith | Function::EndsWith | Function::Split)
        {
            return Err(RuleError::new(at, format!("`{}` does not know {}", self.name(), with.is_a())));
        }
        Ok(match self {
            Function::StartsWith => Val::Bool(text.starts_with(part)),
            Function::EndsWith => Val::Bool(text.ends_with(part)),
            Function::ToLower => Val::Text(text.to_lowercase().into()),
            Function::ToUpper => Val::Text(text.to_uppercase().into()),
            Function::Trim => Val::Text(match text {
                Cow::Borrowed(text) => text.trim().into(),
                Cow::Owned(text) => text.trim().to_owned().into(),
            }),
            Function::Split => Val::Words(match text {
                Cow::Borrowed(text) => text.split(part).map(Cow::from).collect(),
                Cow::Owned(text) => text.split(part).map(|w| w.to_owned().into()).collect(),
            }),
            Function::ParseInt => match text.trim().parse().ok().and_then(whole) {
                Some(n) => Val::Int(n),
                None => return Err(RuleError::new(at, "the text is no whole number")),
            },
            Function::Len | Function::IsEmpty | Function::Contains | Function::ToString => Val::Missing,
        })
    }
}

/// A whole number, if 64 bits hold it.
pub(super) fn whole(n: i128) -> Option<i128> {
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&n).then_some(n)
}

/// A text that a rule made, if it is not too long.
pub(super) fn bounded(text: String, at: Spot) -> Result<String, RuleError> {
    match text.len() <= JOINED_MAX {
        true => Ok(text),
        false => Err(RuleError::new(at, format!("a text of more than {JOINED_MAX} bytes"))),
    }
}
