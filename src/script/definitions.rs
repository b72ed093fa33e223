//! What the Rhai language server must know, so that editors complete and check plugins.

use super::engine::{GONE, standard};
use super::functions::functions_table;
use super::subject::{ConnectionValue, FIELDS};
use rhai::Engine;

/// Definition files, name and text: Rhai's own functions, and `weir.d.rhai` with those of the host.
pub fn definitions() -> Vec<(String, String)> {
    let mut engine = Engine::new_raw();
    engine.register_global_module(standard());
    let mut files: Vec<(String, String)> =
        engine.definitions().iter_files().map(|(name, text)| (name, without_gone(&text))).collect();
    files.push(("weir.d.rhai".to_owned(), own()));
    files
}

/// Blocks that end with a blank line, without functions that handlers do not have.
fn without_gone(text: &str) -> String {
    let gone = |block: &&str| !GONE.iter().any(|name| block.contains(&format!("fn {name}(")));
    text.split("\n\n").filter(gone).collect::<Vec<_>>().join("\n\n")
}

fn own() -> String {
    let mut out = String::from("module static;\n\n/// `[settings]` of the app's file.\nconst settings: map;\n");
    out.push_str(
        "\n// A handler is `fn name(event)`; `this` is its entity's state. `event` has, where it applies:\n//\n",
    );
    for (field, _, what) in FIELDS {
        out.push_str(&format!("// - `{field}`: {what}\n"));
    }
    out.push_str(&format!(
        "//\n// `event.connection`: {}; each claim of `event.user` by its name.\n",
        ConnectionValue::FIELDS.join(", ")
    ));
    for function in functions_table() {
        for form in &function.forms {
            out.push('\n');
            let example = function.example.lines().map(|line| format!("/// {line}\n")).collect::<String>();
            out.push_str(&format!("/// {}\n///\n/// ```rhai\n{example}/// ```\n", function.doc));
            out.push_str(&format!("fn {}({}) -> {};\n", function.name, form.params.join(", "), form.returns));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_know_the_functions_of_the_host_and_none_that_is_gone() {
        let files = definitions();
        let text = |name: &str| &files.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name}")).1;
        let own = text("weir.d.rhai");
        for line in [
            "fn publish(channel: string | array, event: string, data: ?) -> ();",
            "fn get(key: string, default: ?) -> ?;",
            "const settings: map;",
            "/// publish(\"room:1:status\", #{ open: true });",
            "// - `data`: the message, the publication, the timer's data or the request's body",
        ] {
            assert!(own.lines().any(|l| l == line), "{line}\nin\n{own}");
        }
        assert_eq!(own.matches("\nfn publish(").count(), 3, "each form once");
        let rhai = text("__static__.d.rhai");
        assert!(rhai.contains("fn to_upper(") && rhai.contains("fn push("));
        assert!(files.iter().all(|(_, text)| !text.contains("fn sleep(") && !text.contains("fn eval(")));
    }
}
