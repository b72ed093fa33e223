//! From a rule's text to its tree: Rhai parses, this takes what rules may use and tells all the rest at once.

use super::chain::{links_of, root_of};
use super::function::{self, FUNCTIONS};
use super::node::{Arithmetic, Comparison, Const, Kind, Node, Place, Spot};
use super::{DEPTH_MAX, Names, Reads, Run, TEXT_MAX};
use crate::model::{EXACT_MAX, Identity, Problem, did_you_mean, one_of};
use crate::policy::Asking;
use rhai::{Engine, Expr, FnCallExpr, OptimizationLevel, Position, Stmt};
use std::sync::LazyLock;

/// Only its parser is used: no package, no function, no statement.
static PARSER: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Engine::new_raw();
    engine
        .set_max_expr_depths(DEPTH_MAX, 0)
        .set_max_string_size(TEXT_MAX)
        .set_max_array_size(1024)
        .set_max_map_size(0)
        .set_max_functions(0)
        .set_max_modules(0)
        .set_max_variables(0)
        .set_max_operations(1)
        // As written: a folded part would have lost its place in the text.
        .set_optimization_level(OptimizationLevel::None)
        .set_allow_if_expression(false)
        .set_allow_switch_expression(false)
        .set_allow_loop_expressions(false)
        .set_allow_statement_expression(false)
        .set_allow_anonymous_fn(false)
        .set_allow_looping(false);
    engine
});

pub(super) const ROOTS: [&str; 4] = ["user", "request", "tables", "now"];

/// The tree, and how many table look-ups it makes.
pub(super) fn lower(text: &str, path: &str, names: Names<'_>) -> Result<(Node, usize), Vec<Problem>> {
    lowered(text, path, names, Lower::boolean)
}

/// As `lower`, for a part that may be of any kind.
pub(super) fn lower_part(text: &str, path: &str, names: Names<'_>) -> Result<(Node, usize), Vec<Problem>> {
    lowered(text, path, names, Lower::expr)
}

fn lowered<'c>(
    text: &str,
    path: &'c str,
    names: Names<'c>,
    with: impl FnOnce(&mut Lower<'c>, &Expr) -> Node,
) -> Result<(Node, usize), Vec<Problem>> {
    if text.trim().is_empty() {
        return Err(vec![Problem::new(path, "an empty rule").expected("an expression such as `user.known`")]);
    }
    if text.len() > TEXT_MAX {
        return Err(vec![Problem::new(path, format!("a rule of {} bytes", text.len())).expected("4096 bytes at most")]);
    }
    let ast = PARSER.compile_expression(text).map_err(|e| vec![unparsed(path, text, &e)])?;
    let mut lower = Lower { path, names, problems: Vec::new(), lookups: 0 };
    let root = match ast.statements() {
        [Stmt::Expr(expr)] => with(&mut lower, expr),
        _ => return Err(vec![Problem::new(path, "a rule is one expression")]),
    };
    match lower.problems.is_empty() {
        true => Ok((root, lower.lookups)),
        false => Err(lower.problems),
    }
}

fn unparsed(path: &str, text: &str, error: &rhai::ParseError) -> Problem {
    let (line, column) = within(text, spot(error.position()));
    let single = text.replace("==", "").replace("!=", "").replace("<=", "").replace(">=", "").contains('=');
    let hint = match error.err_type() {
        _ if text.contains("===") => Some("compare with `==`".into()),
        _ if single => Some("compare with `==`".into()),
        _ if text.contains('\'') => Some("texts stand in double quotes".into()),
        _ => None,
    };
    Problem::new(path, format!("no rule: {}", error.err_type())).at(line, column).hint(hint)
}

/// The parser ends a line at a lone carriage return too, where nobody else does: what is behind the last line is
/// told at its end.
fn within(text: &str, (line, column): Spot) -> Spot {
    let mut lines = text.split('\n');
    match (lines.clone().count() as u32, lines.next_back()) {
        (count, Some(last)) if line > count => (count, last.chars().count() as u32 + 1),
        _ => (line, column),
    }
}

pub(super) struct Lower<'c> {
    path: &'c str,
    pub names: Names<'c>,
    problems: Vec<Problem>,
    pub lookups: usize,
}

impl Lower<'_> {
    pub fn problem(&mut self, at: Position, what: impl Into<String>) -> &mut Problem {
        let (line, column) = spot(at);
        self.problems.push(Problem::new(self.path, what).at(line, column));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Stands in for what has a problem: nothing runs once there is one.
    pub fn nothing(&self, at: Position) -> Node {
        node(at, Kind::UserClaim("".into()))
    }

    pub fn expr(&mut self, expr: &Expr) -> Node {
        let at = expr.start_position();
        let constant = match expr {
            Expr::BoolConstant(b, _) => Const::Bool(*b),
            Expr::IntegerConstant(n, _) => Const::Int((*n).into()),
            // The parser makes fractions of whole numbers that are too long for it.
            Expr::FloatConstant(n, _) if n.abs() >= EXACT_MAX => {
                let what = "a number too large to be told from its neighbours";
                self.problem(at, what).expected = Some("9007199254740991 at most, or texts on both sides".into());
                return self.nothing(at);
            }
            Expr::FloatConstant(n, _) => Const::Float(**n),
            Expr::CharConstant(c, _) => Const::Text(c.to_string().into()),
            Expr::StringConstant(text, _) => Const::Text(text.as_str().into()),
            _ => return self.compound(expr, at),
        };
        node(at, Kind::Const(constant))
    }

    fn compound(&mut self, expr: &Expr, at: Position) -> Node {
        match expr {
            Expr::Variable(x, ..) if x.2.is_empty() => self.variable(&x.1, at),
            Expr::Dot(..) | Expr::Index(..) => self.chain(expr),
            Expr::And(parts, _) => {
                let parts = parts.iter().map(|p| self.boolean(p)).collect();
                self.folded(at, Kind::And(until(parts, false)))
            }
            Expr::Or(parts, _) => {
                let parts = parts.iter().map(|p| self.boolean(p)).collect();
                self.folded(at, Kind::Or(until(parts, true)))
            }
            Expr::Coalesce(parts, _) => {
                let parts = parts.iter().map(|p| self.expr(p)).collect();
                self.folded(at, Kind::First(parts))
            }
            Expr::InterpolatedString(parts, _) => {
                let parts = parts.iter().map(|p| self.part(p)).collect();
                self.folded(at, Kind::Join(parts))
            }
            // `needle in place` and, in a `!`, `needle !in place`; the parser has turned the sides round.
            Expr::FnCall(call, _) if call.name == "contains" && call.args.len() == 2 => {
                let needle = self.expr(&call.args[1]);
                let place = self.place(&call.args[0]);
                self.folded(at, Kind::Within(needle.into(), place))
            }
            Expr::FnCall(call, _) if call.namespace.is_empty() => match call.op_token {
                Some(_) => self.operator(call, at, expr.position()),
                None => self.function(&call.name, None, &call.args, at),
            },
            Expr::Unit(_) => {
                let problem = self.problem(at, "`()` compares with nothing, not even with itself");
                problem.expected = Some("`\"name\" in user` to ask whether something is there".into());
                self.nothing(at)
            }
            Expr::Array(..) => {
                self.problem(at, "a list stands only behind `in`").expected =
                    Some("`user.role in [\"a\", \"b\"]`".into());
                self.nothing(at)
            }
            _ => {
                self.problem(at, "this is no part of a rule").expected =
                    Some("comparisons, `in`, `&&`, `||`, `!` and functions".into());
                self.nothing(at)
            }
        }
    }

    /// The inside of `${…}`.
    fn part(&mut self, expr: &Expr) -> Node {
        match expr {
            Expr::Stmt(block) => match block.statements() {
                [Stmt::Expr(expr)] => self.expr(expr),
                _ => self.compound(expr, expr.start_position()),
            },
            expr => self.expr(expr),
        }
    }

    /// An expression where true or false is wanted.
    fn boolean(&mut self, expr: &Expr) -> Node {
        let node = self.expr(expr);
        if let Some(what) = node.never_boolean() {
            self.problem(expr.start_position(), format!("{what} stands where true or false should")).expected =
                Some("a comparison, `in`, or something that is true or false".into());
        }
        node
    }

    fn variable(&mut self, name: &str, at: Position) -> Node {
        if let Some(capture) = self.names.captures.iter().position(|c| *c == Some(name)) {
            return node(at, Kind::Capture(capture));
        }
        match name {
            "now" => node(at, Kind::Now),
            "user" => {
                self.problem(at, "`user` is no value of its own").expected = Some("`user.id`, `user.role`, …".into());
                self.nothing(at)
            }
            "request" => {
                self.problem(at, "`request` is no value of its own").expected =
                    Some("`request.path`, `request.query.NAME`, …".into());
                self.nothing(at)
            }
            "tables" => {
                self.problem(at, "`tables` is no value of its own").expected = Some("`tables.NAME[KEY]`".into());
                self.nothing(at)
            }
            name => {
                let known: Vec<&str> = self.names.captures.iter().copied().flatten().chain(ROOTS).collect();
                let problem = self.problem(at, format!("unknown variable `{name}`"));
                problem.hint = did_you_mean(name, known.clone());
                problem.expected = Some(one_of(known));
                self.nothing(at)
            }
        }
    }

    fn operator(&mut self, call: &FnCallExpr, at: Position, op_at: Position) -> Node {
        let op = call.op_token.as_ref().map(|t| t.to_string()).unwrap_or_default();
        let kind = match (op.as_str(), &call.args[..]) {
            ("!", [of]) => Kind::Not(self.boolean(of).into()),
            ("-", [of]) => Kind::Negate(self.expr(of).into()),
            ("+", [of]) => return self.expr(of),
            (op, [left, right]) => match (comparison(op), arithmetic(op)) {
                (Some(by), _) => Kind::Compare(by, Box::new([self.side(left), self.side(right)])),
                (_, Some(op)) => Kind::Arithmetic(op, Box::new([self.expr(left), self.expr(right)])),
                _ => return self.no_operator(op, op_at),
            },
            (op, _) => return self.no_operator(op, op_at),
        };
        self.folded(at, kind)
    }

    fn no_operator(&mut self, op: &str, at: Position) -> Node {
        let hint = match op {
            "&" => Some("did you mean `&&`?".into()),
            "|" => Some("did you mean `||`?".into()),
            _ => None,
        };
        let problem = self.problem(at, format!("rules have no operator `{op}`"));
        problem.hint = hint;
        problem.expected = Some("`==` `!=` `<` `<=` `>` `>=` `in` `!in` `&&` `||` `!` `??` `+` `-` `*` `/` `%`".into());
        self.nothing(at)
    }

    /// One side of a comparison.
    fn side(&mut self, expr: &Expr) -> Node {
        let node = self.expr(expr);
        if matches!(node.kind, Kind::UserRoles) {
            self.problem(expr.start_position(), "`user.roles` is a list: it equals no single role").hint =
                Some("write `\"admin\" in user.roles`".into());
        }
        node
    }

    /// What stands right of `in`.
    fn place(&mut self, expr: &Expr) -> Place {
        let at = expr.start_position();
        match expr {
            Expr::Array(items, _) => return Place::List(items.iter().map(|i| self.expr(i)).collect()),
            Expr::StringConstant(..) => {
                self.problem(at, "`in` looks into lists and maps").expected =
                    Some("a list such as `[\"a\", \"b\"]`; for a part of a text `.contains(…)`".into());
            }
            Expr::Variable(x, ..) if x.1.as_str() == "user" => return Place::User,
            Expr::Dot(..) | Expr::Index(..) => {
                let mut links = Vec::new();
                let base = links_of(expr, &mut links);
                if let (Some(root), [link]) = (root_of(base), &links[..])
                    && let Some(place) = self.root_place(root, link, at)
                {
                    return place;
                }
            }
            _ => {}
        }
        Place::Value(self.expr(expr).into())
    }

    pub fn function(&mut self, name: &str, of: Option<Node>, args: &[Expr], at: Position) -> Node {
        let mut nodes: Vec<Node> = of.into_iter().collect();
        let method = !nodes.is_empty();
        nodes.extend(args.iter().map(|a| self.expr(a)));
        let Some((_, function, count)) = FUNCTIONS.iter().find(|f| f.0 == name) else {
            let problem = self.problem(at, format!("unknown function `{name}`"));
            problem.hint = did_you_mean(name, function::names());
            problem.expected = Some(function::expected());
            return self.nothing(at);
        };
        if nodes.len() != *count {
            let (has, takes) = (nodes.len() - usize::from(method), count - usize::from(method));
            self.problem(at, format!("`{name}` with {has} argument{}", if has == 1 { "" } else { "s" })).expected =
                Some(format!("{takes} of them"));
            return self.nothing(at);
        }
        self.folded(at, Kind::Call(*function, nodes))
    }

    /// What needs nothing is worked out now.
    fn folded(&mut self, at: Position, kind: Kind) -> Node {
        let whole = node(at, kind);
        if whole.reads() != Reads::NOTHING || !self.problems.is_empty() {
            return whole;
        }
        let nobody = Identity::default();
        let run =
            Run { asking: &Asking { identity: &nobody, request: None, tables: &(), now: 0 }, captures: &[], rows: &[] };
        match run.value(&whole).map(|v| v.into_const()) {
            Ok(Some(constant)) => node(at, Kind::Const(constant)),
            Ok(None) => whole,
            Err(error) => {
                self.problem(at, format!("this always fails: {}", error.what));
                self.nothing(at)
            }
        }
    }
}

/// Drops what decides nothing and what is never reached; the order stays, for an error on the way must still be met.
fn until(parts: Vec<Node>, end: bool) -> Vec<Node> {
    let mut kept = Vec::new();
    for part in parts {
        match part.kind {
            Kind::Const(Const::Bool(b)) if b != end => {}
            Kind::Const(Const::Bool(_)) => {
                kept.push(part);
                break;
            }
            _ => kept.push(part),
        }
    }
    kept
}

fn comparison(op: &str) -> Option<Comparison> {
    Some(match op {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(op: &str) -> Option<Arithmetic> {
    Some(match op {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Remainder,
        _ => return None,
    })
}

pub(super) fn node(at: Position, kind: Kind) -> Node {
    Node { at: spot(at), kind }
}

fn spot(at: Position) -> Spot {
    (at.line().unwrap_or(1) as u32, at.position().unwrap_or(1) as u32)
}
