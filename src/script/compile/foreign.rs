//! Hints for people who come from another language: what they wrote there is written so in Rhai.

use rhai::{LexError, ParseErrorType as E, Position};

/// Words of other languages, where the parser stumbles over them.
const WORDS: &[(&[&str], &str)] = &[
    (
        &["null", "NULL", "Null", "nil", "None", "undefined", "void"],
        "Rhai's word for it is `()`: `x == ()`; `x ?? 0` is 0 where x is `()`",
    ),
    (&["var"], "write `let x = …;`"),
    (&["True"], "write `true`"),
    (&["False"], "write `false`"),
    (&["self"], "the entity's state is `this`"),
    (&["elif", "elsif", "elseif"], "write `else if`"),
    (&["function", "def", "func", "fun"], "write `fn name(event) { … }`"),
    (&["lambda"], "a closure is written `|x| x + 1`"),
    (&["match", "case"], "write `switch x { 1 => …, _ => … }`"),
    (&["foreach"], "write `for x in list { … }`"),
    (&["except"], "write `try { … } catch (error) { … }`"),
    (&["raise"], "write `throw \"why\";`, or `refuse(\"denied\", \"why\");` where the client is to read it"),
    (&["class", "new", "struct"], "there are no classes: a map is `#{ name: value }`"),
    (&["and"], "write `&&`"),
    (&["or"], "write `||`"),
    (&["not"], "write `!`"),
    (&["is"], "write `==`, or `type_of(x) == \"string\"`"),
    (
        &["async", "await", "yield", "spawn", "go", "thread", "sync"],
        "a handler never waits: `after(\"5s\", \"next_step\")` calls a function later",
    ),
    (&["console", "log"], "`print(…)` writes a line to the log"),
    (&["JSON"], "`json(value)` makes JSON text, `parse_json(text)` reads it"),
    (&["Math"], "write `max(a, b)`, `min(a, b)`, `abs(a)`, `round(a, 2)`"),
    (&["Date"], "`now()` is the time in ms, `iso()` the time as a text, `parse_time(text)` reads one"),
    (&["require"], "write `import \"lib/name\" as name;` at the top of the file"),
    (&["?"], "there is no `a ? b : c`: write `if a { b } else { c }`"),
    (&["++"], "write `x += 1`"),
    (&["--"], "write `x -= 1`"),
    (&["===", "!=="], "write `==` or `!=`"),
    (&["..."], "there is no spread: `a + b` joins arrays and maps"),
];

/// Words that no other text has in its lines: so they count wherever the line has them.
const TELLING: [&str; 9] = ["elif", "elsif", "elseif", "function", "def", "func", "lambda", "foreach", "except"];

/// Methods of other languages, and what stands for them.
const METHODS: &[(&str, &str)] = &[
    ("forEach", "for_each"),
    ("toString", "to_string"),
    ("includes", "contains"),
    ("has", "contains"),
    ("hasOwnProperty", "contains"),
    ("indexOf", "index_of"),
    ("toUpperCase", "to_upper"),
    ("toLowerCase", "to_lower"),
    ("upper", "to_upper"),
    ("lower", "to_lower"),
    ("startsWith", "starts_with"),
    ("endsWith", "ends_with"),
    ("slice", "extract"),
    ("substring", "sub_string"),
    ("substr", "sub_string"),
    ("length", "len"),
    ("size", "len"),
    ("every", "all"),
    ("parseInt", "parse_int"),
    ("parseFloat", "parse_float"),
    ("strip", "trim"),
    ("items", "keys"),
];

/// A function or method that is not there by the name that other languages give it.
pub fn method(name: &str) -> Option<String> {
    METHODS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| format!("Rhai's is `{ours}`"))
}

/// A word that stands for nothing here.
pub fn word(word: &str) -> Option<String> {
    WORDS.iter().find(|(words, _)| words.contains(&word)).map(|(_, hint)| hint.to_string())
}

/// Looks at what was found, then at the line where it was.
pub fn hint(text: &str, place: Position, found: &E) -> Option<String> {
    let line = place.line().and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
    let column = place.position().unwrap_or(1);
    match found {
        E::BadInput(LexError::MalformedChar(_)) => {
            return Some("a text stands in double quotes, `\"hello\"`; single quotes are for one character".into());
        }
        E::BadInput(LexError::ImproperSymbol(symbol, _)) => {
            if let Some(hint) = word(symbol) {
                return Some(hint);
            }
        }
        E::UnknownOperator(operator) => {
            if let Some(hint) = word(operator) {
                return Some(hint);
            }
        }
        E::Reserved(reserved) => {
            if let Some(hint) = key(line, column, reserved).or_else(|| word(reserved)) {
                return Some(hint);
            }
        }
        _ => {}
    }
    looks_like(line, text, place).or_else(|| {
        let words: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        let near = near(line, column);
        let telling =
            words.into_iter().find(|w| TELLING.contains(w)).or_else(|| near.into_iter().find(|w| word(w).is_some()));
        telling.and_then(word)
    })
}

/// A reserved word as a map's key, or behind a dot.
fn key(line: &str, column: usize, word: &str) -> Option<String> {
    let before: String = line.chars().take(column - 1).collect();
    let after: String = line.chars().skip(column - 1 + word.chars().count()).collect();
    match before.trim_end().chars().last() {
        Some('.') => Some(format!("a field of that name is read as `[\"{word}\"]`")),
        Some('{' | ',') | None if after.trim_start().starts_with(':') => {
            Some(format!("as a key it stands in quotes: `#{{ \"{word}\": … }}`"))
        }
        _ => None,
    }
}

/// The word at the place and the one before it.
fn near(line: &str, column: usize) -> Vec<&str> {
    let at = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let here = line[at..].split(|c| !is_word(c)).next().unwrap_or_default();
    let before = line[..at].trim_end().rsplit(|c| !is_word(c)).next().unwrap_or_default();
    [here, before].into_iter().filter(|w| !w.is_empty()).collect()
}

fn looks_like(line: &str, text: &str, place: Position) -> Option<String> {
    let code = line.trim_start();
    if is_map_without_sign(line) {
        return Some("a map is written `#{ name: value }`; `{ … }` alone is a block".into());
    }
    let before = place.line().map_or(0, |line| text.lines().take(line).map(|l| l.len() + 1).sum());
    let switched = text[..before.min(text.len())].contains("switch");
    if line.contains("=>") && !switched {
        return Some("a closure is written `|x| x + 1`, a function `fn name(event) { … }`".into());
    }
    if line.contains("===") || line.contains("!==") {
        return word("===");
    }
    if code.starts_with("for (") || code.starts_with("for(") {
        return Some("write `for x in list { … }`, or `for n in 0..10 { … }`".into());
    }
    if line.contains("++") || line.contains("--") {
        return word(if line.contains("++") { "++" } else { "--" });
    }
    if code.starts_with("import ") && code.contains(" from ") || code.starts_with("from ") {
        return Some("write `import \"lib/name\" as name;`".into());
    }
    None
}

/// `{ a: 1 }` or `{ "a": 1 }` without `#` before it.
fn is_map_without_sign(line: &str) -> bool {
    line.match_indices('{').any(|(at, _)| {
        let inside = line[at + 1..].trim_start();
        let inside = inside.strip_prefix('"').unwrap_or(inside);
        let name = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
        let after = inside[name..].trim_start_matches('"').trim_start();
        !line[..at].ends_with(['#', '$']) && name > 0 && after.starts_with(':') && !after.starts_with("::")
    })
}
