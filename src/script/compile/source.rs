//! Reads a plugin's file and those that it imports, and what stands outside of functions in them.

use super::syntax;
use super::{ANONYMOUS, problem};
use crate::model::did_you_mean;
use crate::script::Limits;
use crate::script::plugin::{PluginFile, PluginProblem};
use rhai::{AST, ASTFlags, ASTNode, Engine, Expr, OptimizationLevel, Position, Stmt};
use std::sync::Arc;

/// One file, parsed without its constants and without a word on names.
pub struct Source {
    /// `clinic`, `lib/queue`.
    pub name: String,
    /// As faults show it.
    pub file: Arc<str>,
    pub text: String,
    pub loose: AST,
    pub imports: Vec<Import>,
    /// Names and places of `const`.
    pub constants: Vec<(String, Position)>,
    /// Those that others may read: `export const`.
    pub exported: Vec<String>,
    /// All that stands outside of functions is as it should be, and was read.
    pub sound: bool,
}

pub struct Import {
    /// `lib/queue`.
    pub name: String,
    /// `queue`.
    pub alias: String,
    pub place: Position,
}

type Files<'a> = &'a dyn Fn(&str) -> PluginFile;

struct Reader<'a> {
    files: Files<'a>,
    engine: Engine,
    modules_max: usize,
    /// Being read: a file that meets itself here imports itself.
    stack: Vec<String>,
    done: Vec<Source>,
    /// Read in vain.
    failed: Vec<String>,
    problems: &'a mut Vec<PluginProblem>,
}

/// All files, those that are imported before those that import them; without those that cannot be parsed.
pub fn read(name: &str, files: Files, limits: &Limits, problems: &mut Vec<PluginProblem>) -> Vec<Source> {
    let mut engine = crate::script::engine::engine(limits);
    engine.set_strict_variables(false).set_optimization_level(OptimizationLevel::None);
    let modules_max = limits.modules as usize;
    let mut reader =
        Reader { files, engine, modules_max, stack: Vec::new(), done: Vec::new(), failed: Vec::new(), problems };
    match files(name) {
        Ok((file, text)) => reader.file(name, file, text),
        Err(what) => reader.problems.push(problem(name, Position::NONE, what)),
    }
    reader.done
}

impl Reader<'_> {
    fn file(&mut self, name: &str, file: String, text: String) {
        let loose = match self.engine.compile(&text) {
            Ok(ast) => ast,
            Err(error) => {
                self.problems.push(syntax::problem_of(&file, &text, &error, None));
                self.failed.push(name.to_owned());
                return;
            }
        };
        let mut source = Source {
            name: name.to_owned(),
            file: file.into(),
            text,
            imports: Vec::new(),
            constants: Vec::new(),
            exported: Vec::new(),
            sound: false,
            loose,
        };
        let before = self.problems.len();
        self.top_level(&mut source);
        self.inside_functions(&source);
        self.stack.push(name.to_owned());
        let imports = std::mem::take(&mut source.imports);
        source.imports = imports.into_iter().filter(|import| self.import(&source.file, import)).collect();
        self.stack.pop();
        source.sound = self.problems.len() == before;
        self.done.push(source);
    }

    /// Whether what is imported was read.
    fn import(&mut self, file: &str, import: &Import) -> bool {
        let name = &import.name;
        let mut wrong = |what: String, hint: Option<&str>| {
            self.problems.push(problem(file, import.place, what).hint_if(hint.map(str::to_owned)));
            false
        };
        if let Some(at) = self.stack.iter().position(|n| n == name) {
            let circle: Vec<&str> = self.stack[at..].iter().map(String::as_str).chain([name.as_str()]).collect();
            return wrong(
                format!("`{name}` imports itself: {}", circle.join(" → ")),
                Some("move what both need to a third file"),
            );
        }
        if self.done.iter().any(|s| s.name == *name) {
            return true;
        }
        if self.failed.contains(name) {
            return false;
        }
        let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !name.split('/').all(plain) {
            let hint = "a path below plugins/, without its ending: `import \"lib/queue\" as queue;`";
            return wrong(format!("`{name}` is no path of a plugin"), Some(hint));
        }
        if self.done.len() + self.stack.len() > self.modules_max {
            return wrong(format!("more than {} files (`modules` of [script])", self.modules_max), None);
        }
        match (self.files)(name) {
            Ok((path, text)) => {
                self.file(name, path, text);
                self.done.iter().any(|s| s.name == *name)
            }
            Err(what) => {
                self.failed.push(name.clone());
                let problem = problem(file, import.place, format!("cannot import `{name}`: {what}"));
                let known = self.done.iter().map(|s| s.name.as_str());
                self.problems.push(problem.hint_if(did_you_mean(name, known)));
                false
            }
        }
    }

    /// Outside of functions there are imports and constants.
    fn top_level(&mut self, source: &mut Source) {
        for statement in source.loose.statements() {
            match statement {
                Stmt::Noop(_) => {}
                Stmt::Import(import, place) => match &**import {
                    (Expr::StringConstant(name, _), alias) if !alias.name.is_empty() => {
                        let alias = alias.name.to_string();
                        if source.imports.iter().any(|i| i.alias == alias) {
                            let what = format!("`{alias}` is the name of two imports");
                            self.problems.push(problem(&source.file, *place, what));
                        }
                        source.imports.push(Import { name: name.to_string(), alias, place: *place });
                    }
                    (Expr::StringConstant(name, _), _) => {
                        let last = name.rsplit('/').next().unwrap_or(name);
                        let what = format!("the import of `{name}` has no name");
                        let hint = format!("write `import \"{name}\" as {last};`");
                        self.problems.push(problem(&source.file, *place, what).hint(hint));
                    }
                    _ => {
                        let what =
                            "an import's path must be a text as it stands, for it is read when the file is loaded";
                        self.problems.push(problem(&source.file, *place, what));
                    }
                },
                Stmt::Var(variable, flags, place) if flags.contains(ASTFlags::CONSTANT) => {
                    let name = variable.0.name.to_string();
                    if flags.contains(ASTFlags::EXPORTED) {
                        source.exported.push(name.clone());
                    }
                    source.constants.push((name, *place));
                }
                Stmt::Export(names, _) => source.exported.push(names.0.name.to_string()),
                Stmt::Var(variable, _, place) => {
                    let what = format!("`let {}` outside of functions: nobody would see it", variable.0.name);
                    let hint = "write `const` for what never changes; what changes belongs to `this`";
                    self.problems.push(problem(&source.file, *place, what).hint(hint));
                }
                other => {
                    let what = "code outside of functions, which would run once, when the file is loaded";
                    let hint = "put it into a function: a file has functions, constants and imports";
                    self.problems.push(problem(&source.file, other.position(), what).hint(hint));
                }
            }
        }
    }

    /// Files are read at load only.
    fn inside_functions(&mut self, source: &Source) {
        let mut found = Vec::new();
        source.loose.walk(&mut |path: &[ASTNode]| {
            if let ([_, ..], Some(ASTNode::Stmt(Stmt::Import(_, place)))) = (path, path.last()) {
                found.push(*place);
            }
            true
        });
        for place in found {
            if source.imports.iter().any(|i| i.place == place)
                || source.loose.statements().iter().any(|s| s.position() == place)
            {
                continue;
            }
            let what = "an import inside of a function, where it would be read again at each call";
            self.problems.push(problem(&source.file, place, what).hint("move it to the top of the file"));
        }
    }
}

/// Names of functions and variables of a file, for hints.
pub fn names(ast: &AST) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for f in ast.iter_functions().filter(|f| !f.name.starts_with(ANONYMOUS)) {
        names.extend(f.params.iter().map(|p| p.to_string()));
    }
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(variable, ..))) => names.push(variable.0.name.to_string()),
            Some(ASTNode::Stmt(Stmt::For(parts, _))) => names.push(parts.0.name.to_string()),
            _ => {}
        }
        true
    });
    names.sort();
    names.dedup();
    names
}
