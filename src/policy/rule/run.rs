//! Running a rule's tree.

use super::RuleError;
use super::function::{bounded, whole};
use super::node::{Arithmetic, Const, Facts, Kind, Node, Place};
use super::value::Val;
use crate::model::{EXACT_MAX, RowUnknown};
use crate::policy::Asking;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::Write;
use std::sync::Arc;

type Row = OnceCell<Result<Option<Arc<Map<String, Value>>>, RowUnknown>>;

/// One evaluation.
#[derive(Clone, Copy)]
pub(in crate::policy) struct Run<'a> {
    pub asking: &'a Asking<'a>,
    pub captures: &'a [&'a str],
    /// One for each look-up: rows are borrowed from here until the verdict.
    pub rows: &'a [Row],
}

/// `None`: undecided, for something is missing.
type Truth = Result<Option<bool>, RuleError>;

impl<'a> Run<'a> {
    pub(super) fn truth(&self, node: &'a Node) -> Truth {
        match &node.kind {
            Kind::Const(Const::Bool(b)) => Ok(Some(*b)),
            Kind::UserKnown => Ok(Some(self.asking.identity.user.is_some())),
            Kind::Not(of) => Ok(self.truth(of)?.map(|b| !b)),
            Kind::And(all) => self.until(all, false),
            Kind::Or(any) => self.until(any, true),
            Kind::Compare(by, sides) => Ok(self.value(&sides[0])?.compare(*by, &self.value(&sides[1])?)),
            Kind::Within(needle, place) => self.within(needle, place),
            _ => match self.value(node)? {
                Val::Bool(b) => Ok(Some(b)),
                Val::Missing => Ok(None),
                other => fault(node, format!("{} stands where true or false should", other.is_a())),
            },
        }
    }

    /// `&&` ends at the first false, `||` at the first true; something undecided on the way leaves the rest undecided.
    /// A row that cannot be had matters only where no other part decides.
    fn until(&self, nodes: &'a [Node], end: bool) -> Truth {
        let (mut truth, mut unavailable) = (Some(!end), None);
        for node in nodes {
            match self.truth(node) {
                Ok(Some(b)) if b == end => return Ok(Some(end)),
                Ok(Some(_)) => {}
                Ok(None) => truth = None,
                Err(error) if error.unavailable => unavailable = Some(error),
                Err(error) => return Err(error),
            }
        }
        unavailable.map_or(Ok(truth), Err)
    }

    pub(super) fn value(&self, node: &'a Node) -> Result<Val<'a>, RuleError> {
        let identity = self.asking.identity;
        Ok(match &node.kind {
            Kind::Const(constant) => constant.into(),
            Kind::Capture(at) => Val::text(self.captures.get(*at).copied()),
            Kind::Now => Val::Int(self.asking.now.into()),
            Kind::UserId => Val::text(identity.user.as_deref()),
            Kind::UserRoles => self.roles(),
            Kind::UserClaim(name) => Val::of(identity.claims.get(&**name)),
            Kind::UserAt(key) => match self.value(key)? {
                Val::Text(name) => self.claim(&name),
                Val::Missing => Val::Missing,
                key => return fault(node, format!("{} is no name of a claim", key.is_a())),
            },
            Kind::Path => Val::text(self.asking.request.map(|r| r.path())),
            Kind::Ip => self.asking.request.map_or(Val::Missing, |r| Val::Text(r.ip().to_string().into())),
            Kind::Facts(facts, name) => match self.value(name)? {
                Val::Text(name) => self.fact(*facts, &name).map_or(Val::Missing, Val::Text),
                _ => Val::Missing,
            },
            Kind::Row { table, key, slot } => self.row(node, table, key, *slot)?.map_or(Val::Missing, Val::Map),
            Kind::At { of, key } => self.at(node, of, key)?,
            Kind::First(of) => {
                for node in of {
                    match self.value(node)? {
                        Val::Missing => {}
                        value => return Ok(value),
                    }
                }
                Val::Missing
            }
            Kind::Arithmetic(op, sides) => self.arithmetic(node, *op, sides)?,
            Kind::Negate(of) => match self.value(of)? {
                Val::Missing => Val::Missing,
                Val::Int(n) => n
                    .checked_neg()
                    .and_then(whole)
                    .map(Val::Int)
                    .map_or_else(|| fault(node, "too large a number"), Ok)?,
                Val::Float(n) => Val::Float(-n),
                of => return fault(node, format!("`-` does not know {}", of.is_a())),
            },
            Kind::Join(parts) => self.join(node, parts)?,
            Kind::Call(function, args) => {
                let mut values = [Val::Missing, Val::Missing];
                for (value, arg) in values.iter_mut().zip(args) {
                    *value = self.value(arg)?;
                }
                function.call(values, args.len(), node.at)?
            }
            Kind::UserKnown | Kind::Not(_) | Kind::And(_) | Kind::Or(_) | Kind::Compare(..) | Kind::Within(..) => {
                self.truth(node)?.map_or(Val::Missing, Val::Bool)
            }
        })
    }

    /// A claim under a name that is only known now.
    fn claim(&self, name: &str) -> Val<'a> {
        match name {
            "id" => Val::text(self.asking.identity.user.as_deref()),
            "known" => Val::Bool(self.asking.identity.user.is_some()),
            "roles" => self.roles(),
            name => Val::of(self.asking.identity.claims.get(name)),
        }
    }

    /// Always a list, whichever of `role` and `roles` a token brought.
    fn roles(&self) -> Val<'a> {
        let claims = &self.asking.identity.claims;
        match claims.get("roles").filter(|r| !r.is_null()).or_else(|| claims.get("role")) {
            None | Some(Value::Null) => Val::List(&[]),
            Some(Value::Array(roles)) => Val::List(roles),
            Some(role) => Val::List(std::slice::from_ref(role)),
        }
    }

    fn fact(&self, facts: Facts, name: &str) -> Option<Cow<'a, str>> {
        let request = self.asking.request?;
        match facts {
            Facts::Query => request.query(name),
            Facts::Headers => request.header(name),
            Facts::Vars => request.var(name).map(Cow::Borrowed),
        }
    }

    fn row(
        &self,
        node: &Node,
        table: &str,
        key: &'a Node,
        slot: usize,
    ) -> Result<Option<&'a Map<String, Value>>, RuleError> {
        let key = match self.value(key)? {
            Val::Text(key) => key,
            Val::Int(n) => n.to_string().into(),
            Val::Missing => return Ok(None),
            other => return fault(key, format!("{} is no key of a table", other.is_a())),
        };
        match self.rows.get(slot).map(|cell| cell.get_or_init(|| self.asking.tables.row(table, &key))) {
            Some(Ok(row)) => Ok(row.as_deref()),
            Some(Err(RowUnknown)) => unknown(node, table),
            None => Ok(None),
        }
    }

    fn at(&self, node: &'a Node, of: &'a Node, key: &'a Node) -> Result<Val<'a>, RuleError> {
        Ok(match (self.value(of)?, self.value(key)?) {
            (Val::Missing, _) | (_, Val::Missing) => Val::Missing,
            (Val::Map(map), Val::Text(key)) => Val::of(map.get(&*key)),
            (Val::List(list), Val::Int(n)) => Val::of(index(n, list.len()).and_then(|i| list.get(i))),
            (Val::Words(mut words), Val::Int(n)) => match index(n, words.len()) {
                Some(i) => Val::Text(words.swap_remove(i)),
                None => Val::Missing,
            },
            (of, Val::Text(key)) => return fault(node, format!("{} has no `{key}`", of.is_a())),
            (of, key) => return fault(node, format!("{} has no place for {}", of.is_a(), key.is_a())),
        })
    }

    fn within(&self, needle: &'a Node, place: &'a Place) -> Truth {
        let needle_value = self.value(needle)?;
        if matches!(needle_value, Val::Missing) {
            return Ok(None);
        }
        let key = match &needle_value {
            Val::Text(key) => Cow::Borrowed(&**key),
            Val::Int(n) => Cow::Owned(n.to_string()),
            _ => Cow::Borrowed(""),
        };
        Ok(Some(match place {
            Place::List(list) => {
                for node in list {
                    if self.value(node)?.equals(&needle_value) {
                        return Ok(Some(true));
                    }
                }
                false
            }
            Place::User => !matches!(self.claim(&key), Val::Missing),
            Place::Facts(facts) => self.fact(*facts, &key).is_some(),
            // "Not in the list of those who are out" must not come true because the list cannot be had.
            Place::Table(table) => match self.asking.tables.row(table, &key) {
                Ok(row) => row.is_some(),
                Err(RowUnknown) => return unknown(needle, table),
            },
            Place::Value(of) => match self.value(of)? {
                Val::Missing => return Ok(None),
                // Rhai would look for a part of the text: `"admin" in "not-an-admin"`.
                Val::Text(_) => return fault(of, "`in` looks into lists and maps; a part of a text: `.contains(…)`"),
                value => match value.holds(&needle_value) {
                    Some(found) => found,
                    None => return fault(of, format!("`in` does not look into {}", value.is_a())),
                },
            },
        }))
    }

    fn arithmetic(&self, node: &Node, op: Arithmetic, sides: &'a [Node; 2]) -> Result<Val<'a>, RuleError> {
        let result = match (self.value(&sides[0])?, self.value(&sides[1])?) {
            (Val::Missing, _) | (_, Val::Missing) => return Ok(Val::Missing),
            (Val::Text(a), Val::Text(b)) if op == Arithmetic::Add => {
                return Ok(Val::Text(bounded(a.into_owned() + &*b, node.at)?.into()));
            }
            (Val::Int(a), Val::Int(b)) => op.of_ints(a, b).and_then(whole).map(Val::Int),
            (Val::Int(a), Val::Float(b)) => op.of_floats(a as f64, b).map(Val::Float),
            (Val::Float(a), Val::Int(b)) => op.of_floats(a, b as f64).map(Val::Float),
            (Val::Float(a), Val::Float(b)) => op.of_floats(a, b).map(Val::Float),
            (a, b) => return fault(node, format!("no arithmetic of {} and {}", a.is_a(), b.is_a())),
        };
        result.map_or_else(|| fault(node, "too large a number, or a division by zero"), Ok)
    }

    /// Something missing in a text makes the whole missing: `tenant-${user.tenant}` is never `tenant-`.
    fn join(&self, node: &Node, parts: &'a [Node]) -> Result<Val<'a>, RuleError> {
        let mut text = String::new();
        for part in parts {
            match self.value(part)? {
                Val::Missing => return Ok(Val::Missing),
                value => write!(text, "{value}").unwrap_or_default(),
            }
            text = bounded(text, node.at)?;
        }
        Ok(Val::Text(text.into()))
    }
}

impl Arithmetic {
    fn of_ints(self, a: i128, b: i128) -> Option<i128> {
        match self {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => a.checked_rem(b),
        }
    }

    /// `None` beyond 2⁵³, on either side or in the result: two ids in different units would come to one number.
    fn of_floats(self, a: f64, b: f64) -> Option<f64> {
        let exact = |n: f64| (n.abs() < EXACT_MAX).then_some(n);
        let (a, b) = (exact(a)?, exact(b)?);
        exact(match self {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
            Arithmetic::Remainder => a % b,
        })
    }
}

/// Negative: from the end.
fn index(n: i128, len: usize) -> Option<usize> {
    let at = if n < 0 { n.checked_add(len as i128)? } else { n };
    usize::try_from(at).ok().filter(|at| *at < len)
}

fn fault<T>(node: &Node, what: impl Into<String>) -> Result<T, RuleError> {
    Err(RuleError::new(node.at, what))
}

fn unknown<T>(node: &Node, table: &str) -> Result<T, RuleError> {
    Err(RuleError {
        unavailable: true,
        ..RuleError::new(node.at, format!("the row of table `{table}` cannot be had now"))
    })
}
