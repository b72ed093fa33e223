//! What Rhai's parser found, as people read it.

use super::source::{Source, names};
use super::{foreign, keywords, problem};
use crate::model::did_you_mean;
use crate::script::engine::GONE;
use crate::script::plugin::PluginProblem;
use crate::script::run::uncapitalized;
use rhai::{LexError, ParseError, ParseErrorType as E, Position};

/// `source`: where it was parsed before without a word on names.
pub fn problem_of(file: &str, text: &str, error: &ParseError, source: Option<&Source>) -> PluginProblem {
    let told = described(file, error, source);
    match foreign::hint(text, error.position(), error.err_type()) {
        Some(hint) if !is_gone(error.err_type()) => told.hint(hint),
        _ => told,
    }
}

fn is_gone(found: &E) -> bool {
    matches!(found, E::Reserved(word) | E::BadInput(LexError::ImproperSymbol(word, _)) if GONE.contains(&word.as_str()))
}

fn described(file: &str, error: &ParseError, source: Option<&Source>) -> PluginProblem {
    let at = |what: String| problem(file, error.position(), what);
    match error.err_type() {
        E::VariableUndefined(name) => {
            let mut known = source.map(|s| names(&s.loose)).unwrap_or_default();
            known.extend(source.iter().flat_map(|s| s.constants.iter().map(|(n, _)| n.clone())));
            known.push("settings".into());
            let function = source.is_some_and(|s| s.loose.iter_functions().any(|f| f.name == name));
            if function {
                return at(format!("the function `{name}` is no variable"))
                    .hint(format!("name it as a text, `\"{name}\"`, or define it above"));
            }
            at(format!("unknown variable `{name}`"))
                .expected("a parameter, a variable, a constant or `settings`")
                .hint_if(foreign::word(name).or_else(|| did_you_mean(name, known.iter().map(String::as_str))))
        }
        E::ModuleUndefined(name) => {
            let known = source.into_iter().flat_map(|s| s.imports.iter().map(|i| i.alias.as_str()));
            let hint = did_you_mean(name, known);
            at(format!("unknown import `{name}`")).hint(
                hint.unwrap_or_else(|| format!("write `import \"lib/{name}\" as {name};` at the top of the file")),
            )
        }
        E::Reserved(word) | E::BadInput(LexError::ImproperSymbol(word, _)) if GONE.contains(&word.as_str()) => {
            gone(file, error.position(), word)
        }
        E::Reserved(word) if keywords().contains(&word.as_str()) => at(format!("`{word}` stands where it cannot")),
        E::Reserved(word) => at(format!("`{word}` is a word that Rhai keeps for itself"))
            .hint(format!("choose another name; a field of a message is read as `[\"{word}\"]`")),
        E::FnDuplicatedDefinition(name, params) => {
            at(format!("`{name}` with {params} parameters is defined twice")).hint("rename one, or remove it")
        }
        E::AssignmentToConstant(name) => at(format!("`{name}` is a constant and stays as it is")),
        E::UnexpectedEOF => at("the file ends too early".into()).hint("is a `}`, a `)` or a quote missing?"),
        E::ExprTooDeep => at("expressions nested too deep (`expression_depth` of [script])".into()),
        other => at(uncapitalized(&other.to_string())),
    }
}

/// Of Rhai's, and not for handlers.
pub fn gone(file: &str, place: Position, word: &str) -> PluginProblem {
    let hint = match word {
        "sleep" => "a handler never waits: `after(\"5s\", \"next_step\")` calls a function later",
        _ => "write a function, or a closure",
    };
    problem(file, place, format!("there is no `{word}`")).hint(hint)
}
