//! Walks functions: calls of what is not there, literals that cannot work, and what a handler reads.

use super::signatures::{forms, native, takes_any};
use super::source::Source;
use super::{ANONYMOUS, Offered, foreign, literals, problem, syntax};
use crate::model::did_you_mean;
use crate::script::engine::GONE;
use crate::script::failure::line_column;
use crate::script::plugin::{Function, PluginProblem};
use crate::script::reads::Reads;
use crate::script::subject::{DATA, FIELDS};
use rhai::{AST, ASTNode, Dynamic, Expr, FnCallExpr, Position, ScriptFuncDef, Shared, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a file's functions may use.
pub struct Context<'a> {
    pub source: &'a Source,
    pub ast: &'a AST,
    /// By alias.
    pub modules: BTreeMap<&'a str, &'a Offered>,
    pub webhooks: &'a [&'a str],
}

/// Tells mistakes, and gives the file's functions in the order of their names.
pub fn lint(context: &Context, problems: &mut Vec<PluginProblem>) -> Vec<Function> {
    let mut mentioned: BTreeSet<String> = BTreeSet::new();
    let mut functions = Vec::new();
    let keys = keys(context.ast);
    for (name, arity) in context.ast.iter_functions().map(|f| (f.name.to_owned(), f.params.len())) {
        let Some(function) = context.ast.shared_lib().get_script_fn(&name, arity) else { continue };
        let mut seen = Seen::default();
        let mut alone = context.ast.clone_functions_only();
        alone.retain_functions(|_, _, n, params| n == name && params == arity);
        alone.walk(&mut |path: &[ASTNode]| {
            look(context, path, function, &keys, &mut seen, problems);
            true
        });
        seen.mentions.remove(&name);
        mentioned.append(&mut seen.mentions);
        if !name.starts_with(ANONYMOUS) {
            functions.push(described(context, function, &seen, line_column(function.body.start_position()).0));
        }
    }
    for function in &mut functions {
        function.used = mentioned.contains(&*function.name);
    }
    functions.sort_by(|a, b| (&a.name, a.arity).cmp(&(&b.name, b.arity)));
    functions
}

/// What one function does.
#[derive(Default)]
struct Seen {
    this: bool,
    reads: Reads,
    /// Fields that no event has.
    doubts: Vec<(String, u32, u32)>,
    /// Names of functions, called or told to a timer.
    mentions: BTreeSet<String>,
}

fn described(context: &Context, function: &ScriptFuncDef, seen: &Seen, line: u32) -> Function {
    Function {
        name: function.name.as_str().into(),
        arity: function.params.len(),
        file: context.source.file.clone(),
        line,
        keeps_state: seen.this,
        used: false,
        reads: seen.reads.clone(),
        doubts: seen.doubts.iter().map(|(field, line, column)| (Arc::from(field.as_str()), *line, *column)).collect(),
    }
}

fn look(
    context: &Context,
    path: &[ASTNode],
    function: &Shared<ScriptFuncDef>,
    keys: &BTreeSet<String>,
    seen: &mut Seen,
    problems: &mut Vec<PluginProblem>,
) {
    match path.last() {
        Some(ASTNode::Expr(Expr::ThisPtr(_))) => seen.this = true,
        Some(ASTNode::Expr(Expr::FloatConstant(_, place))) => {
            problems.extend(literals::rounded(&context.source.text, &context.source.file, *place));
        }
        Some(ASTNode::Expr(Expr::StringConstant(text, _))) => drop(seen.mentions.insert(text.to_string())),
        Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) => mentions(value, seen),
        Some(ASTNode::Expr(Expr::Variable(variable, _, place))) => {
            if function.params.first().is_some_and(|p| *p == variable.1) {
                reads(path, *place, seen);
            }
            qualified_variable(
                context,
                (!variable.2.is_empty()).then(|| variable.2.root()),
                &variable.1,
                *place,
                problems,
            );
        }
        Some(ASTNode::Expr(Expr::FnCall(call, place)) | ASTNode::Stmt(Stmt::FnCall(call, place))) => {
            seen.mentions.insert(call.name.to_string());
            called(context, call, *place, problems);
        }
        Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => assigned(context, &assignment.1.lhs, function, problems),
        Some(ASTNode::Expr(Expr::MethodCall(call, place))) => {
            seen.mentions.insert(call.name.to_string());
            method(context, call, *place, keys, problems);
        }
        _ => {}
    }
}

/// `TABLE.a = 1`: Rhai would change a copy and say nothing.
fn assigned(context: &Context, lhs: &Expr, function: &ScriptFuncDef, problems: &mut Vec<PluginProblem>) {
    match lhs {
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) => assigned(context, &parts.lhs, function, problems),
        // A variable of the function's own has a place on its stack; what a closure captures is its parameter.
        Expr::Variable(variable, None, place) if variable.0.is_none() && !function.params.contains(&variable.1) => {
            let name = variable.1.as_str();
            if name != "settings" && !context.source.constants.iter().any(|(constant, _)| constant == name) {
                return;
            }
            let what = format!("`{name}` is a constant and stays as it is");
            problems.push(problem(&context.source.file, *place, what).hint("what changes belongs to `this`"));
        }
        _ => {}
    }
}

/// `Fn("name")` and closures are values after parsing.
fn mentions(value: &Dynamic, seen: &mut Seen) {
    if let Some(function) = value.read_lock::<rhai::FnPtr>() {
        seen.mentions.insert(function.fn_name().to_owned());
    }
}

/// Which field of the first parameter is read here; all, where it goes elsewhere as a whole.
fn reads(path: &[ASTNode], place: Position, seen: &mut Seen) {
    let parent = path.len().checked_sub(2).map(|at| &path[at]);
    let mut names = Vec::new();
    match parent {
        Some(ASTNode::Expr(Expr::Dot(parts, ..))) if is_here(&parts.lhs, place) => properties(&parts.rhs, &mut names),
        Some(ASTNode::Expr(Expr::Index(parts, ..))) if is_here(&parts.lhs, place) => {
            if let Expr::StringConstant(text, at) = &parts.rhs {
                names.push((text.to_string(), *at));
            }
        }
        _ => {}
    }
    let Some(((name, at), rest)) = names.split_first() else {
        return seen.reads.all();
    };
    match FIELDS.iter().find(|(field, ..)| field == name) {
        Some((_, bit, _)) => seen.reads.field(*bit),
        None => {
            let (line, column) = line_column(*at);
            seen.doubts.push((name.clone(), line, column));
        }
    }
    if name == DATA {
        let path: Vec<String> = rest.iter().map(|(name, _)| name.clone()).collect();
        seen.reads.data(&path);
    }
}

fn is_here(expr: &Expr, place: Position) -> bool {
    matches!(expr, Expr::Variable(_, _, at) if *at == place)
}

/// `a.b` of `.a.b.len()`: names up to where something else happens to the value.
fn properties(rhs: &Expr, names: &mut Vec<(String, Position)>) {
    match rhs {
        Expr::Property(property, place) => names.push((property.2.to_string(), *place)),
        Expr::Dot(parts, ..) => {
            if let Expr::Property(property, place) = &parts.lhs {
                names.push((property.2.to_string(), *place));
                properties(&parts.rhs, names);
            }
        }
        Expr::Index(parts, ..) => {
            if let Expr::Property(property, place) = &parts.lhs {
                names.push((property.2.to_string(), *place));
            }
        }
        _ => {}
    }
}

/// Keys of maps and properties: something under them may be a function that is called as a method.
fn keys(ast: &AST) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Property(property, _))) => drop(keys.insert(property.2.to_string())),
            Some(ASTNode::Expr(Expr::Map(map, _))) => keys.extend(map.0.iter().map(|(key, _)| key.name.to_string())),
            _ => {}
        }
        true
    });
    keys
}

fn called(context: &Context, call: &FnCallExpr, place: Position, problems: &mut Vec<PluginProblem>) {
    let (name, given) = (call.name.as_str(), call.args.len());
    if call.is_operator_call() || takes_any(name) || name.starts_with(ANONYMOUS) {
        return;
    }
    if GONE.contains(&name) {
        problems.push(syntax::gone(&context.source.file, place, name));
        return;
    }
    if call.is_qualified() {
        return qualified_call(context, call, place, problems);
    }
    let own: Vec<usize> = context.ast.iter_functions().filter(|f| f.name == name).map(|f| f.params.len()).collect();
    let native = native().get(name);
    if own.contains(&given) || native.is_some_and(|n| n.contains(&given)) {
        literals::check(context, call, problems);
        return;
    }
    let file = &context.source.file;
    if own.is_empty() && native.is_none() {
        problems.push(unknown(context, problem(file, place, format!("unknown function `{name}`")), name));
        return;
    }
    let expected = match (forms(name), own.is_empty()) {
        (Some(forms), true) => forms.join(" or "),
        _ => {
            let counts: BTreeSet<usize> = own.iter().chain(native.into_iter().flatten()).copied().collect();
            counted(&counts.into_iter().map(|n| n.to_string()).collect::<Vec<_>>())
        }
    };
    problems.push(problem(file, place, format!("`{name}` is called with {}", arguments(given))).expected(expected));
}

fn arguments(n: usize) -> String {
    format!("{n} argument{}", if n == 1 { "" } else { "s" })
}

fn counted(counts: &[String]) -> String {
    match counts {
        [one] => one.parse().map_or_else(|_| format!("{one} arguments"), arguments),
        [first @ .., last] => format!("{} or {last} arguments", first.join(", ")),
        [] => String::new(),
    }
}

fn unknown(context: &Context, problem: PluginProblem, name: &str) -> PluginProblem {
    let own = context.ast.iter_functions().map(|f| f.name).filter(|f| !f.starts_with(ANONYMOUS));
    let known = own.chain(native().keys().map(String::as_str).filter(|n| n.bytes().all(is_word)));
    let imported =
        context.modules.iter().find(|(_, m)| m.functions.iter().any(|(n, _, private)| n == name && !private));
    let hint = match imported {
        Some((alias, _)) => Some(format!("write `{alias}::{name}(…)`")),
        None => foreign::method(name).or_else(|| did_you_mean(name, known)),
    };
    problem.expected("a function of the file, of an import, or of plugins/README.md").hint_if(hint)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn method(
    context: &Context,
    call: &FnCallExpr,
    place: Position,
    keys: &BTreeSet<String>,
    problems: &mut Vec<PluginProblem>,
) {
    let (name, given) = (call.name.as_str(), call.args.len());
    if takes_any(name) || keys.contains(name) || name.starts_with(ANONYMOUS) {
        return;
    }
    let own = || context.ast.iter_functions().filter(|f| f.name == name);
    let native = native().get(name);
    if own().any(|f| f.params.len() == given) || native.is_some_and(|n| n.contains(&(given + 1))) {
        return;
    }
    let file = &context.source.file;
    if native.is_none() && own().next().is_none() {
        problems.push(unknown(context, problem(file, place, format!("unknown method `{name}`")), name));
        return;
    }
    let counts = own().map(|f| f.params.len()).chain(native.into_iter().flatten().filter_map(|n| n.checked_sub(1)));
    let counts: BTreeSet<usize> = counts.collect();
    let expected = counted(&counts.into_iter().map(|n| n.to_string()).collect::<Vec<_>>());
    problems.push(problem(file, place, format!("`.{name}` is called with {}", arguments(given))).expected(expected));
}

fn qualified_call(context: &Context, call: &FnCallExpr, place: Position, problems: &mut Vec<PluginProblem>) {
    let (alias, name, given) = (call.namespace.root(), call.name.as_str(), call.args.len());
    let Some(module) = context.modules.get(alias) else { return };
    let found: Vec<&(String, usize, bool)> = module.functions.iter().filter(|(n, ..)| n == name).collect();
    if found.iter().any(|(_, params, private)| *params == given && !private) {
        return;
    }
    let problem = |what: String| problem(&context.source.file, place, what);
    problems.push(match found.first() {
        None => {
            let public = module.functions.iter().filter(|(.., private)| !private).map(|(n, ..)| n.as_str());
            problem(format!("`{alias}` has no function `{name}`")).hint_if(did_you_mean(name, public))
        }
        Some((_, params, true)) if *params == given => {
            problem(format!("`{alias}::{name}` is private")).hint("remove `private` before its `fn`")
        }
        Some(_) => {
            let counts: Vec<String> = found.iter().map(|(_, params, _)| params.to_string()).collect();
            problem(format!("`{alias}::{name}` is called with {}", arguments(given))).expected(counted(&counts))
        }
    });
}

fn qualified_variable(
    context: &Context,
    alias: Option<&str>,
    name: &str,
    place: Position,
    problems: &mut Vec<PluginProblem>,
) {
    let Some(module) = alias.and_then(|alias| context.modules.get(alias)) else { return };
    if !module.constants.iter().any(|c| c == name) {
        let what = format!("`{}` has no constant `{name}` for others", alias.unwrap_or_default());
        let hint = did_you_mean(name, module.constants.iter().map(String::as_str));
        problems
            .push(problem(&context.source.file, place, what).hint(hint.unwrap_or("write `export const` there".into())));
    }
}
