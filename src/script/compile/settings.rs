//! What of `[settings]` a plugin reads, and names that nobody set.

use super::problem;
use super::source::{Source, names};
use crate::model::did_you_mean;
use crate::script::plugin::PluginProblem;
use rhai::{ASTNode, Expr, Position};
use std::collections::BTreeSet;

pub const SETTINGS: &str = "settings";

/// Tells each `settings.X` of a file that `known` does not have, unless the text says what holds without it:
/// `settings.X ?? 5`, `settings.X == ()`, or `"X" in settings` anywhere. `read` gets all names.
pub fn check(source: &Source, known: &BTreeSet<&str>, read: &mut BTreeSet<String>, problems: &mut Vec<PluginProblem>) {
    // A variable or a parameter of that name is another thing.
    if names(&source.loose).iter().any(|name| name == SETTINGS) {
        return;
    }
    let (mut found, mut optional) = (Vec::new(), BTreeSet::new());
    source.loose.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(Expr::Variable(variable, _, place))) = path.last()
            && variable.1 == SETTINGS
            && variable.2.is_empty()
        {
            look(path, *place, &mut found, &mut optional);
        }
        true
    });
    for (name, place) in found {
        if !known.contains(name.as_str()) && !optional.contains(&name) {
            let told = problem(&source.file, place, format!("unknown setting `{name}`")).expected(
                "a key of `[settings]` of the app's file, or `settings.NAME ?? VALUE` for one that may be missing",
            );
            problems.push(told.hint_if(did_you_mean(&name, known.iter().copied())));
        }
        read.insert(name);
    }
    read.extend(optional);
}

fn look(path: &[ASTNode], place: Position, found: &mut Vec<(String, Position)>, optional: &mut BTreeSet<String>) {
    let above = |n: usize| path.len().checked_sub(n).map(|at| &path[at]);
    let name = match above(2) {
        Some(ASTNode::Expr(Expr::Dot(parts, ..))) if is_here(&parts.lhs, place) => match &parts.rhs {
            Expr::Property(property, at) => Some((property.2.to_string(), *at)),
            Expr::Dot(inner, ..) | Expr::Index(inner, ..) => match &inner.lhs {
                Expr::Property(property, at) => Some((property.2.to_string(), *at)),
                _ => None,
            },
            Expr::MethodCall(call, _) if call.name == "contains" => {
                optional.extend(call.args.iter().filter_map(text));
                None
            }
            _ => None,
        },
        Some(ASTNode::Expr(Expr::Index(parts, ..))) if is_here(&parts.lhs, place) => match &parts.rhs {
            Expr::StringConstant(text, at) => Some((text.to_string(), *at)),
            Expr::Dot(inner, ..) | Expr::Index(inner, ..) => match &inner.lhs {
                Expr::StringConstant(text, at) => Some((text.to_string(), *at)),
                _ => None,
            },
            _ => None,
        },
        // `"x" in settings`
        Some(ASTNode::Expr(Expr::FnCall(call, _))) if call.name == "contains" => {
            optional.extend(call.args.iter().filter_map(text));
            None
        }
        _ => None,
    };
    let Some((name, at)) = name else { return };
    let may_be_missing = match above(3) {
        Some(ASTNode::Expr(Expr::Coalesce(..))) => true,
        Some(ASTNode::Expr(Expr::FnCall(call, _))) => call.args.iter().any(|arg| matches!(arg, Expr::Unit(_))),
        _ => false,
    };
    if may_be_missing {
        optional.insert(name);
    } else {
        found.push((name, at));
    }
}

fn is_here(expr: &Expr, place: Position) -> bool {
    matches!(expr, Expr::Variable(_, _, at) if *at == place)
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        _ => None,
    }
}
