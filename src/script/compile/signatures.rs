//! Which functions there are beside a plugin's own.

use crate::script::Limits;
use crate::script::functions::functions_table;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Name → numbers of parameters, of Rhai's own and of the host's; what a method is called on counts.
pub fn native() -> &'static BTreeMap<String, BTreeSet<usize>> {
    static NATIVE: LazyLock<BTreeMap<String, BTreeSet<usize>>> = LazyLock::new(|| {
        let engine = crate::script::engine::engine(&Limits::default());
        let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        let all = engine.collect_fn_metadata(
            None,
            |info| Some((info.metadata.name.to_string(), info.metadata.num_params)),
            true,
        );
        for (name, params) in all {
            found.entry(name).or_default().insert(params);
        }
        for (name, params) in BUILT_IN {
            found.entry((*name).to_owned()).or_default().extend(params.iter().copied());
        }
        found
    });
    &NATIVE
}

/// Part of the language; `call` and `curry` take as many as they are given.
const BUILT_IN: &[(&str, &[usize])] = &[
    ("type_of", &[1]),
    ("Fn", &[1]),
    ("is_shared", &[1]),
    ("is_def_var", &[1]),
    ("is_def_fn", &[2]),
    ("print", &[0, 1]),
    ("debug", &[0, 1]),
];

/// Words that a call may have with any number of parameters.
pub fn takes_any(name: &str) -> bool {
    matches!(name, "call" | "curry")
}

/// Words that mean something only in their place.
pub fn keywords() -> &'static [&'static str] {
    &[
        "this", "fn", "const", "let", "import", "export", "as", "private", "global", "type_of", "call", "curry",
        "print", "debug",
    ]
}

/// How a host function is called: `publish(channel: string | array, data: ?)`.
pub fn forms(name: &str) -> Option<Vec<String>> {
    Some(functions_table().iter().find(|f| f.name == name)?.signatures().map(|s| format!("`{s}`")).collect())
}
