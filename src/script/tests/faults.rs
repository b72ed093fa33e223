//! What a plugin's author reads when its file is loaded.

use super::support::*;
use crate::script::*;

/// The faults of `fn f(event) { BODY }`, which begins at column 15.
fn of(body: &str) -> String {
    faults(&[("test", &format!("fn f(event) {{ {body} }}"))])
}

#[test]
fn an_unknown_function_is_told_with_the_nearest_one() {
    assert_eq!(
        of(r#"publsh("a", 1);"#),
        "plugins/test.rhai:1:15: unknown function `publsh`\n  expected a function of the file, of an import, or of plugins/README.md\n  hint: did you mean `publish`?\n"
    );
    assert_eq!(
        of("this.list.psh(1);"),
        "plugins/test.rhai:1:25: unknown method `psh`\n  expected a function of the file, of an import, or of plugins/README.md\n  hint: did you mean `push`?\n"
    );
    assert_eq!(
        faults(&[("test", "fn helper(a) { a }\nfn f(event) { [1, 2].map(|x| hepler(x)) }")]),
        "plugins/test.rhai:2:30: unknown function `hepler`\n  expected a function of the file, of an import, or of plugins/README.md\n  hint: did you mean `helper`?\n"
    );
}

#[test]
fn a_wrong_number_of_arguments_is_told_with_the_forms_that_there_are() {
    assert_eq!(
        of("refuse();"),
        "plugins/test.rhai:1:15: `refuse` is called with 0 arguments\n  expected `refuse(code: string, text: string)` or `refuse(code: string, text: string, details: ?)`\n"
    );
    assert_eq!(
        faults(&[("test", "fn add(a, b) { a + b }\nfn f(event) { add(1); this.add(1, 2, 3); }")]),
        "plugins/test.rhai:2:15: `add` is called with 1 argument\n  expected 2 arguments\nplugins/test.rhai:2:28: `.add` is called with 3 arguments\n  expected 2 arguments\n"
    );
}

#[test]
fn a_function_cannot_be_called_as_a_word_of_rhai() {
    let words = "call curry print debug type_of is_shared is_def_var is_def_fn Fn this if else for while loop let const fn \
        private return throw import export as in switch do until break continue try catch true false eval \
        var static shared with goto match case public protected new use module package super thread spawn go await async \
        sync yield default void null nil";
    for word in words.split_whitespace() {
        assert_eq!(
            faults(&[("test", &format!("fn f(event) {{}}\nfn {word}(event) {{}}"))]),
            format!(
                "plugins/test.rhai:2:4: `{word}` is a word of Rhai: no function can be called so\n  hint: choose another name, such as `on_{word}`, also where the function is named\n"
            )
        );
    }
}

#[test]
fn names_that_are_not_there_are_told() {
    assert_eq!(
        of("let count = 1; return cuont;"),
        "plugins/test.rhai:1:37: unknown variable `cuont`\n  expected a parameter, a variable, a constant or `settings`\n  hint: did you mean `count`?\n"
    );
    assert_eq!(
        faults(&[("test", "fn f(event) { after(5, ring); }\nfn ring(e) {}")]),
        "plugins/test.rhai:1:24: the function `ring` is no variable\n  hint: name it as a text, `\"ring\"`, or define it above\n"
    );
    assert_eq!(
        of("queue::next();"),
        "plugins/test.rhai:1:15: unknown import `queue`\n  hint: write `import \"lib/queue\" as queue;` at the top of the file\n"
    );
}

#[test]
fn a_number_that_the_parser_would_round_is_told() {
    assert_eq!(
        of("return 18_446_744_073_709_551_615;"),
        "plugins/test.rhai:1:22: `18_446_744_073_709_551_615` is too long for a whole number, and would be rounded\n  expected 9223372036854775807 at most, or a text\n"
    );
}

#[test]
fn what_does_not_parse_is_told_in_words() {
    assert_eq!(
        faults(&[("test", "fn f(event) { let x = 1;")]),
        "plugins/test.rhai:1:25: expecting '}' to terminate this block\n"
    );
    assert_eq!(
        of("sleep(5);"),
        "plugins/test.rhai:1:15: there is no `sleep`\n  hint: a handler never waits: `after(\"5s\", \"next_step\")` calls a function later\n"
    );
    assert_eq!(
        of(r#"eval("1");"#),
        "plugins/test.rhai:1:15: there is no `eval`\n  hint: write a function, or a closure\n"
    );
    assert_eq!(
        faults(&[("test", "fn a(x) { 1 }\nfn a(y) { 2 }")]),
        "plugins/test.rhai:2:1: `a` with 1 parameters is defined twice\n  hint: rename one, or remove it\n"
    );
    assert_eq!(
        of("settings.limit = 5; let settings = #{}; settings.limit = 6;"),
        "plugins/test.rhai:1:15: `settings` is a constant and stays as it is\n  hint: what changes belongs to `this`\n"
    );
    assert_eq!(
        faults(&[("test", "const A = 1;\nfn a() { A = 2; }")]),
        "plugins/test.rhai:2:10: `A` is a constant and stays as it is\n  hint: what changes belongs to `this`\n"
    );
}

#[test]
fn code_outside_of_functions_is_told() {
    assert_eq!(
        faults(&[("test", "let x = 1;\npublish(\"a\", x);\nconst Y = now();")]),
        "plugins/test.rhai:1:1: `let x` outside of functions: nobody would see it\n  hint: write `const` for what never changes; what changes belongs to `this`\n\
         plugins/test.rhai:2:1: code outside of functions, which would run once, when the file is loaded\n  hint: put it into a function: a file has functions, constants and imports\n"
    );
    assert_eq!(
        faults(&[("test", "const Y = now();")]),
        "plugins/test.rhai:1:11: this function works while a handler runs; a plugin's file is read before\n"
    );
}

#[test]
fn literals_that_cannot_work_are_told() {
    assert_eq!(
        of(r#"publish("a::b", 1); publish(["a", "b:"], 1); join(event.connection, "");"#),
        "plugins/test.rhai:1:23: `a::b` names no channel: a channel name has no empty segment\n\
         plugins/test.rhai:1:49: `b:` names no channel: a channel name has no empty segment\n\
         plugins/test.rhai:1:83: `` names no channel: a channel name must not be empty\n"
    );
    assert_eq!(
        faults(&[(
            "test",
            "fn f(event) { after(\"5 sec\", \"rnig\"); every(-1, \"two\"); }\nfn ring(e) {}\nfn two(a, b) {}"
        )]),
        "plugins/test.rhai:1:21: `5 sec` is no duration: write \"500ms\", \"5s\", \"10m\" or \"1h30m\"\n\
         plugins/test.rhai:1:30: a timer's function `rnig` is not in this file\n  hint: did you mean `ring`?\n\
         plugins/test.rhai:1:45: a duration is not negative, this is -1 ms\n\
         plugins/test.rhai:1:49: a timer's function takes the event: `two` takes 2 parameters\n  expected `fn two(event)`\n"
    );
    assert_eq!(
        faults(&[(
            "test",
            "fn f(event) { publish(`a::${event.type}`, 1); [1].map(Fn(\"hepler\")) }\nfn helper(x) { x }"
        )]),
        "plugins/test.rhai:1:23: `a::` is in no channel's name: a channel name has no empty segment\n\
         plugins/test.rhai:1:58: unknown function `hepler`\n  hint: did you mean `helper`?\n"
    );
    assert_eq!(
        of(r#"webhook("bakend", 1); count("a b");"#),
        "plugins/test.rhai:1:23: the app's file declares no `[webhook.bakend]`; did you mean `backend`?\n\
         plugins/test.rhai:1:43: `a b` is no metric's name: letters, digits and _, a letter first, 64 at most\n"
    );
    assert_eq!(
        of("send(filter(#{ user: [1] }), 1);"),
        "plugins/test.rhai:1:30: a filter has no field `user`\n  expected `users`, `connections`, `claims`, `channels` or `exclude`\n  hint: did you mean `users`?\n"
    );
}

#[test]
fn a_binding_to_what_is_no_handler_is_told() {
    let plugin =
        compile("fn called(event) {}\nfn add(a, b) { a + b }\nfn odd(event) { event.dta }", &Limits::default())
            .unwrap();
    let told = |name: &str| {
        let p = plugin.handler(name).unwrap_err();
        format!("{} | {} | {}", p.what, p.expected.unwrap_or_default(), p.hint.unwrap_or_default())
    };
    assert_eq!(
        told("caled"),
        "unknown handler `caled` | a function of the plugin with one parameter, the event | did you mean `called`?"
    );
    assert_eq!(
        told("add"),
        "`add` takes 2 parameters | a function with one parameter, the event | write `fn add(event)` in plugins/test.rhai:2"
    );
    assert!(
        told("odd").starts_with(
            "the handler `odd` reads `dta` of its event, at plugins/test.rhai:3:23 | `kind`, `type`, `data`"
        )
    );
    assert!(told("odd").ends_with("did you mean `data`?"));
    assert_eq!(plugin.name_of(plugin.handler("called").unwrap()), "called");
}

#[test]
fn functions_that_nobody_calls_can_be_listed() {
    let text = "fn bound(event) { after(\"5s\", \"later\"); helper(1) }\nfn later(event) { this.x = 1 }\nprivate fn helper(n) { n }\nfn alone(n) { if n > 0 { alone(n - 1) } }";
    let plugin = compile(text, &Limits::default()).unwrap();
    let unused: Vec<&str> = plugin.functions().filter(|f| !f.used).map(|f| &*f.name).collect();
    assert_eq!(unused, ["alone", "bound"]);
    let keeps: Vec<&str> = plugin.functions().filter(|f| f.keeps_state).map(|f| &*f.name).collect();
    assert_eq!(keeps, ["later"]);
    assert!(plugin.keeps_state(plugin.handler("later").unwrap()));
}

#[test]
fn people_from_other_languages_get_a_hint() {
    let mut wrong = Vec::new();
    for (body, hint) in [
        ("publish(\"a\", { type: \"x\" });", "a map is written `#{ name: value }`"),
        ("let m = { \"type\": 1 };", "a map is written `#{ name: value }`"),
        ("let t = 'hello';", "a text stands in double quotes"),
        ("[1].map(x => x);", "a closure is written `|x| x + 1`"),
        ("const f = () => 1;", "a closure is written `|x| x + 1`"),
        ("let x = null;", "Rhai's word for it is `()`"),
        ("let x = None;", "Rhai's word for it is `()`"),
        ("if event.data == nil { }", "Rhai's word for it is `()`"),
        ("if event.data == undefined { }", "Rhai's word for it is `()`"),
        ("if 1 == 1 { } elif 2 == 2 { }", "write `else if`"),
        ("if 1 === 1 { }", "write `==` or `!=`"),
        ("if 1 !== 1 { }", "write `==` or `!=`"),
        ("var x = 1;", "write `let x = …;`"),
        ("let x = 1; x++;", "write `x += 1`"),
        ("let x = event.at > 1 ? 2 : 3;", "there is no `a ? b : c`: write `if a { b } else { c }`"),
        ("let x = #{ default: 1 };", "as a key it stands in quotes: `#{ \"default\": … }`"),
        ("let x = event.data.default;", "a field of that name is read as `[\"default\"]`"),
        ("for (let i = 0; i < 3; i++) { }", "write `for x in list { … }`"),
        ("console.log(1);", "`print(…)` writes a line to the log"),
        ("JSON.stringify(event);", "`json(value)` makes JSON text"),
        ("let x = True;", "write `true`"),
        ("if 1 == 1 and 2 == 2 { }", "write `&&`"),
        ("await publish(\"a\", 1);", "a handler never waits"),
        ("[1].forEach(|x| x);", "Rhai's is `for_each`"),
        ("\"a\".toUpperCase();", "Rhai's is `to_upper`"),
    ] {
        let told = faults(&[("test", &format!("fn f(event) {{\n    {body}\n}}"))]);
        if !told.starts_with("plugins/test.rhai:2:") || !told.contains(&format!("\n  hint: {hint}")) {
            wrong.push(format!("{body}\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let told = faults(&[("test", "function f(event) { }")]);
    assert!(told.contains("hint: write `fn name(event) { … }`"), "{told}");
    let told = faults(&[("test", "def f(event):\n    pass")]);
    assert!(told.contains("hint: write `fn name(event) { … }`"), "{told}");
}

#[test]
fn a_setting_that_nobody_set_is_a_fault_unless_it_may_be_missing() {
    let told = faults(&[("test", "const A = settings.limitt;\nfn f(event) { settings.nam + settings[\"deeep\"].er }")]);
    assert!(told.contains("plugins/test.rhai:1:20: unknown setting `limitt`"), "{told}");
    assert!(told.contains("hint: did you mean `limit`?") && told.contains("hint: did you mean `name`?"), "{told}");
    assert!(told.contains("unknown setting `deeep`"), "{told}");
    for fine in [
        "fn f(event) { settings.more ?? 5 }",
        "fn f(event) { if settings.more != () { settings.more } }",
        "fn f(event) { if \"more\" in settings { settings.more } }",
        "fn f(event) { if settings.contains(\"more\") { settings.more } }",
        "fn f(event) { settings.deep.er + settings.limit }",
        "fn f(settings) { settings.anything }",
        "fn f(event) { let all = settings; all.anything }",
    ] {
        assert!(compile(fine, &Limits::default()).is_ok(), "{fine}");
    }
}
