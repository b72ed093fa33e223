//! Rules that come to the same whoever asks: legal, and almost never meant.

use super::Rule;
use super::node::{Comparison, Const, Kind, Node, Place};
use std::collections::BTreeSet;

/// A part of a rule whose answer does not hang on anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Always {
    /// `false`: it is never true.
    pub verdict: bool,
    /// Whether it is the whole rule that is so, not only a part of it.
    pub whole: bool,
    /// Line and column in the rule's text.
    pub at: (u32, u32),
}

impl Rule {
    /// The whole rule if it always comes to the same, else its first part that does. A rule that is nothing but
    /// `true` or `false` says so itself and is none.
    pub fn always(&self) -> Option<Always> {
        if let Some(verdict) = self.constant() {
            let plain = matches!(self.text.trim(), "true" | "false");
            return (!plain).then_some(Always { verdict, whole: true, at: start(&self.root) });
        }
        if let Some(verdict) = fixed(&self.root) {
            return Some(Always { verdict, whole: true, at: start(&self.root) });
        }
        part(&self.root).map(|(verdict, at)| Always { verdict, whole: false, at })
    }

    /// The tables that it looks into.
    pub fn tables(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        tables(&self.root, &mut found);
        found
    }
}

/// What a node always comes to, where something is not missing.
fn fixed(node: &Node) -> Option<bool> {
    match &node.kind {
        Kind::Const(Const::Bool(b)) => Some(*b),
        Kind::Not(of) => fixed(of).map(|b| !b),
        Kind::And(all) => against(all, Comparison::Equal)
            .then_some(false)
            .or_else(|| all.iter().find_map(|n| fixed(n).filter(|b| !b)))
            .or_else(|| all.iter().all(|n| fixed(n) == Some(true)).then_some(true)),
        Kind::Or(any) => against(any, Comparison::NotEqual)
            .then_some(true)
            .or_else(|| any.iter().find_map(|n| fixed(n).filter(|b| *b)))
            .or_else(|| any.iter().all(|n| fixed(n) == Some(false)).then_some(false)),
        Kind::Compare(by, sides) if same(&sides[0], &sides[1]) => {
            Some(matches!(by, Comparison::Equal | Comparison::LessOrEqual | Comparison::GreaterOrEqual))
        }
        // A text is never a number, nor the other way round.
        Kind::Compare(by @ (Comparison::Equal | Comparison::NotEqual), sides) => {
            let (a, b) = (sides[0].never_boolean()?, sides[1].never_boolean()?);
            (a != b).then_some(*by == Comparison::NotEqual)
        }
        Kind::Within(_, Place::List(list)) if list.is_empty() => Some(false),
        _ => None,
    }
}

/// Where a node's text begins; operators stand where their sign is.
fn start(node: &Node) -> (u32, u32) {
    let mut first = node.at;
    node.each(&mut |child| first = first.min(start(child)));
    first
}

/// The first part that always comes to the same.
fn part(node: &Node) -> Option<(bool, (u32, u32))> {
    let (Kind::And(parts) | Kind::Or(parts)) = &node.kind else { return None };
    parts.iter().find_map(|p| fixed(p).map(|verdict| (verdict, start(p))).or_else(|| part(p)))
}

/// `x == "a" && x == "b"` can never be, `x != "a" || x != "b"` always is.
fn against(parts: &[Node], by: Comparison) -> bool {
    let mut compared = parts.iter().filter_map(|p| match &p.kind {
        Kind::Compare(how, sides) if *how == by => match (&sides[0].kind, &sides[1].kind) {
            (Kind::Const(_), Kind::Const(_)) => None,
            (_, Kind::Const(constant)) => Some((&sides[0], constant)),
            (Kind::Const(constant), _) => Some((&sides[1], constant)),
            _ => None,
        },
        _ => None,
    });
    let all: Vec<_> = compared.by_ref().collect();
    all.iter().enumerate().any(|(i, (a, x))| all[i + 1..].iter().any(|(b, y)| same(a, b) && x != y))
}

/// Whether two nodes read the same thing. Only what is read, not what is computed.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::UserId, Kind::UserId) | (Kind::Path, Kind::Path) | (Kind::Ip, Kind::Ip) | (Kind::Now, Kind::Now) => true,
        (Kind::Capture(a), Kind::Capture(b)) => a == b,
        (Kind::UserClaim(a), Kind::UserClaim(b)) => a == b,
        (Kind::UserAt(a), Kind::UserAt(b)) => same(a, b),
        (Kind::Facts(x, a), Kind::Facts(y, b)) => x == y && same(a, b),
        (Kind::At { of: x, key: a }, Kind::At { of: y, key: b }) => same(x, y) && same(a, b),
        (Kind::Row { table: x, key: a, .. }, Kind::Row { table: y, key: b, .. }) => x == y && same(a, b),
        (Kind::Const(a), Kind::Const(b)) => a == b,
        _ => false,
    }
}

fn tables<'n>(node: &'n Node, found: &mut BTreeSet<&'n str>) {
    match &node.kind {
        Kind::Row { table, .. } | Kind::Within(_, Place::Table(table)) => drop(found.insert(table)),
        _ => {}
    }
    node.each(&mut |child| tables(child, found));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(text: &str) -> Option<(bool, bool)> {
        Rule::compile(text, "", &["users"]).unwrap().always().map(|a| (a.verdict, a.whole))
    }

    #[test]
    fn what_hangs_on_nothing_is_found() {
        assert_eq!(always("user.id == user.id"), Some((true, true)));
        assert_eq!(always("user.role == \"a\" && user.role == \"b\""), Some((false, true)));
        assert_eq!(always("user.role != \"a\" || user.role != \"b\""), Some((true, true)));
        assert_eq!(always("user.id == 5"), Some((false, true)));
        assert_eq!(always("user.known || 1 == 1"), Some((true, true)));
        assert_eq!(always("user.known && user.id == user.id"), Some((true, false)));
        assert_eq!(always("1 == 2"), Some((false, true)));
        assert_eq!(always("user.id + \"a\" == 5"), Some((false, true)));
        assert_eq!(always("user.n + 1 == \"5\""), Some((false, true)));
    }

    #[test]
    fn what_is_meant_is_left_alone() {
        for rule in [
            "true",
            "false",
            "user.known",
            "user.role == \"a\" || user.role == \"b\"",
            "user.role != \"a\" && user.role != \"b\"",
            "user.a == user.b",
            "\"x\" in tables.users",
            "user.id + \"a\" == \"ba\"",
            "\"a\" + user.x == \"ab\"",
            "user.x + user.y == \"ab\"",
            "user.x + user.y == 5",
        ] {
            assert_eq!(always(rule), None, "{rule}");
        }
    }

    #[test]
    fn tables_are_named() {
        let rule = Rule::compile("user.id in tables.a || tables.b[user.id].open", "", &["a", "b"]).unwrap();
        assert_eq!(rule.tables().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
