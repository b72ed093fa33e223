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
    if let Some(word) = reserved_name(text, error) {
        return problem(file, error.position(), format!("`{word}` is a word of Rhai: no function can be called so"))
            .hint(format!("choose another name, such as `on_{word}`, also where the function is named"));
    }
    let told = described(file, error, source);
    match foreign::hint(text, error.position(), error.err_type()) {
        Some(hint) if !is_gone(error.err_type()) => told.hint(hint),
        _ => told,
    }
}

/// The word after `fn` where the parser wants another one.
fn reserved_name<'t>(text: &'t str, error: &ParseError) -> Option<&'t str> {
    if !matches!(error.err_type(), E::Reserved(_) | E::FnMissingName | E::BadInput(LexError::ImproperSymbol(..))) {
        return None;
    }
    let (line, column) = (error.position().line()?, error.position().position()?);
    let line = text.lines().nth(line - 1)?;
    let at = line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = line[..at].trim_end();
    let after_fn = before.strip_suffix("fn").is_some_and(|more| !more.ends_with(is_word));
    let word = line[at..].split(|c| !is_word(c)).next()?;
    (after_fn && word.starts_with(char::is_alphabetic)).then_some(word)
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
        E::Reserved(word) if keywords().contains(&word.as_str()) => {
            at(format!("`{word}` is a word of Rhai and stands where it cannot"))
        }
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
