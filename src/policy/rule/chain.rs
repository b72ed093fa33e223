//! `user.org.id`, `request.headers.host`, `tables.users[user.id].role`: what is read, step by step.

use super::LOOKUPS_MAX;
use super::lower::{Lower, ROOTS, node};
use super::node::{Const, Facts, Kind, Node, Place};
use crate::model::{did_you_mean, one_of};
use rhai::{ASTFlags, Expr, FnCallExpr, Position};

const REQUEST: [&str; 5] = ["path", "query", "headers", "ip", "vars"];

/// One step of `a.b[c].d(e)`.
pub(super) enum Link<'e> {
    Name(&'e str, Position),
    Key(&'e Expr),
    Call(&'e FnCallExpr, Position),
    Other(Position),
}

impl Lower<'_> {
    pub fn chain(&mut self, expr: &Expr) -> Node {
        let mut links = Vec::new();
        let base = links_of(expr, &mut links);
        let at = base.start_position();
        let (mut node, rest) = match (root_of(base), base) {
            (Some("user"), _) => self.user(&links, at),
            (Some("request"), _) => self.request(&links, at),
            (Some("tables"), _) => self.tables(&links, at),
            (_, Expr::Array(items, _)) if matches!(&links[..], [Link::Call(f, _)] if f.name == "contains") => {
                let list = items.iter().map(|i| self.expr(i)).collect();
                (self.contains(&links[0], Place::List(list), at), 1)
            }
            _ => (self.expr(base), 0),
        };
        for link in &links[rest..] {
            node = self.link(node, link);
        }
        node
    }

    fn link(&mut self, of: Node, link: &Link<'_>) -> Node {
        let (at, key) = match link {
            Link::Name(name, at) => (*at, node(*at, Kind::Const(Const::Text((*name).into())))),
            Link::Key(key) => (key.start_position(), self.expr(key)),
            Link::Call(call, at) => return self.function(&call.name, Some(of), &call.args, *at),
            Link::Other(at) => {
                self.problem(*at, "this is no part of a rule");
                return self.nothing(*at);
            }
        };
        node(at, Kind::At { of: of.into(), key: key.into() })
    }

    /// The node, and how many links it took.
    fn user(&mut self, links: &[Link<'_>], at: Position) -> (Node, usize) {
        let kind = match (&links[0], links[0].name()) {
            (_, Some("id")) => Kind::UserId,
            (_, Some("known")) => Kind::UserKnown,
            (_, Some("roles")) => Kind::UserRoles,
            (_, Some(claim)) => Kind::UserClaim(claim.into()),
            (Link::Key(key), None) => Kind::UserAt(self.expr(key).into()),
            (link, None) => return (self.contains(link, Place::User, at), 1),
        };
        (node(at, kind), 1)
    }

    fn request(&mut self, links: &[Link<'_>], at: Position) -> (Node, usize) {
        let Some(name) = links[0].name() else {
            self.problem(at, "`request` is read by name").expected = Some(one_of(REQUEST));
            return (self.nothing(at), links.len());
        };
        let facts = match (name, facts(name)) {
            ("path", _) => return (node(at, Kind::Path), 1),
            ("ip", _) => return (node(at, Kind::Ip), 1),
            (_, Some(facts)) => facts,
            (name, None) => {
                let problem = self.problem(at, format!("a request has no `{name}`"));
                problem.hint = did_you_mean(name, REQUEST);
                problem.expected = Some(one_of(REQUEST));
                return (self.nothing(at), links.len());
            }
        };
        let key = match links.get(1) {
            Some(Link::Name(key, at)) => node(*at, Kind::Const(Const::Text(header_case(facts, key).into()))),
            Some(link @ Link::Key(key)) => match link.name() {
                Some(name) => node(key.start_position(), Kind::Const(Const::Text(header_case(facts, name).into()))),
                None => self.expr(key),
            },
            Some(link) => return (self.contains(link, Place::Facts(facts), at), 2),
            None => {
                self.problem(at, format!("`request.{name}` is no value of its own")).expected =
                    Some(format!("`request.{name}.NAME`, or `\"NAME\" in request.{name}`"));
                return (self.nothing(at), 1);
            }
        };
        (node(at, Kind::Facts(facts, key.into())), 2)
    }

    fn tables(&mut self, links: &[Link<'_>], at: Position) -> (Node, usize) {
        let Some(name) = links[0].name() else {
            self.problem(at, "`tables` is read by name").expected = Some("`tables.NAME[KEY]`".into());
            return (self.nothing(at), links.len());
        };
        let table = self.table(name, at);
        let key = match links.get(1) {
            Some(Link::Name(key, at)) => node(*at, Kind::Const(Const::Text((*key).into()))),
            Some(Link::Key(key)) => self.expr(key),
            Some(link) => return (self.contains(link, Place::Table(table.into()), at), 2),
            None => {
                self.problem(at, format!("`tables.{table}` is no value of its own")).expected =
                    Some(format!("`tables.{table}[KEY]`, or `KEY in tables.{table}`"));
                return (self.nothing(at), 1);
            }
        };
        let slot = self.lookups;
        self.lookups += 1;
        if slot == LOOKUPS_MAX {
            self.problem(at, format!("more than {LOOKUPS_MAX} table look-ups in one rule"));
        }
        (node(at, Kind::Row { table: table.into(), key: key.into(), slot }), 2)
    }

    /// `place.contains(needle)`: `in`, written as a method.
    fn contains(&mut self, link: &Link<'_>, place: Place, at: Position) -> Node {
        match link {
            Link::Call(call, _) if call.name == "contains" && call.args.len() == 1 => {
                let needle = self.expr(&call.args[0]);
                node(at, Kind::Within(needle.into(), place))
            }
            Link::Call(_, at) | Link::Other(at) => {
                self.problem(*at, "only `contains(NAME)` may be asked of it");
                self.nothing(*at)
            }
            Link::Name(..) | Link::Key(_) => self.nothing(at),
        }
    }

    /// `request.headers`, `tables.users` as something to look into.
    pub fn root_place(&mut self, root: &str, link: &Link<'_>, at: Position) -> Option<Place> {
        let name = link.name()?;
        match (root, facts(name)) {
            ("request", Some(facts)) => Some(Place::Facts(facts)),
            ("tables", _) => Some(Place::Table(self.table(name, at).into())),
            _ => None,
        }
    }

    fn table<'n>(&mut self, name: &'n str, at: Position) -> &'n str {
        if !self.names.tables.contains(&name) {
            let tables = self.names.tables;
            let problem = self.problem(at, format!("unknown table `{name}`"));
            problem.hint = did_you_mean(name, tables.iter().copied());
            problem.expected = match tables {
                [] => Some("a `[table.NAME]`: the app has none".into()),
                tables => Some(one_of(tables.iter().copied())),
            };
        }
        name
    }
}

impl<'e> Link<'e> {
    fn of(expr: &'e Expr, dot: bool) -> Link<'e> {
        match expr {
            expr if !dot => Link::Key(expr),
            Expr::Property(x, at) => Link::Name(&x.2, *at),
            Expr::MethodCall(call, at) if call.namespace.is_empty() => Link::Call(call, *at),
            other => Link::Other(other.start_position()),
        }
    }

    /// `.name` or `["name"]`.
    fn name(&self) -> Option<&'e str> {
        match self {
            Link::Name(name, _) => Some(name),
            Link::Key(Expr::StringConstant(name, _)) => Some(name),
            _ => None,
        }
    }
}

/// Unrolls `a.b[c].d`, which Rhai nests to the right; the base is what remains.
pub(super) fn links_of<'e>(expr: &'e Expr, links: &mut Vec<Link<'e>>) -> &'e Expr {
    let step = |expr: &'e Expr| match expr {
        Expr::Dot(x, flags, _) => Some((x, *flags, true)),
        Expr::Index(x, flags, _) => Some((x, *flags, false)),
        _ => None,
    };
    let Some((mut x, mut flags, mut dot)) = step(expr) else { return expr };
    let base = &x.lhs;
    // `a[b.c]` stops at BREAK: `b.c` is its key, not the way on.
    while let Some((next, next_flags, next_dot)) = step(&x.rhs).filter(|_| dot || !flags.contains(ASTFlags::BREAK)) {
        links.push(Link::of(&next.lhs, dot));
        (x, flags, dot) = (next, next_flags, next_dot);
    }
    links.push(Link::of(&x.rhs, dot));
    base
}

pub(super) fn root_of(base: &Expr) -> Option<&str> {
    match base {
        Expr::Variable(x, ..) if x.2.is_empty() => Some(x.1.as_str()).filter(|n| ROOTS.contains(n)),
        _ => None,
    }
}

fn facts(name: &str) -> Option<Facts> {
    match name {
        "query" => Some(Facts::Query),
        "headers" => Some(Facts::Headers),
        "vars" => Some(Facts::Vars),
        _ => None,
    }
}

/// Headers are looked up in lower case (RFC 9110 §5.1).
fn header_case(facts: Facts, name: &str) -> String {
    if facts == Facts::Headers { name.to_ascii_lowercase() } else { name.to_owned() }
}
