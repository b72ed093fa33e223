//! Files that import files.

use super::support::*;
use crate::script::*;

#[test]
fn functions_and_constants_of_an_import_are_used_inside_handlers() {
    let files = [
        (
            "test",
            "import \"lib/queue\" as queue;\nconst START = 100 + settings.limit;\nfn f(event) { queue::next(#{ n: START }) + queue::MAX }",
        ),
        (
            "lib/queue",
            "import \"lib/numbers\" as numbers;\nexport const MAX = 9;\nconst STEPS = #{ by: #{ one: 1 } };\n\
             fn next(q) { numbers::add(q.n, STEPS.by.one) + settings.limit + twice(0) }\nprivate fn twice(n) { n * 2 }",
        ),
        ("lib/numbers", "fn add(a, b) { a + b }"),
    ];
    let plugin = compile_files(&files, &Limits::default()).unwrap_or_else(|p| panic!("{}", shown(&p)));
    let mut bench = bench_of(plugin, Limits::default());
    let ran = bench.run("f", &route()).unwrap();
    assert_eq!(ran.value.as_deref(), Some(&b"116"[..])); // 103 + 1 + 3 + 0 + 9
}

#[test]
fn an_error_in_an_import_is_told_with_its_own_file_and_the_calls_that_led_there() {
    let files = [
        ("test", "import \"lib/queue\" as queue;\nfn f(event) {\n  step(event)\n}\nfn step(e) { queue::fail(1) }"),
        ("lib/queue", "fn fail(n) {\n  let x = #{};\n  x.a.b\n}"),
    ];
    let mut bench = bench_of(compile_files(&files, &Limits::default()).unwrap(), Limits::default());
    assert_eq!(
        bench.fault("f", &message("{}")).to_string(),
        "plugins/lib/queue.rhai:3:7: `b` is read of something that is missing, `()`; `?.` reads on only where there is something\n  in `fail`, called at plugins/test.rhai:5:21\n  in `step`, called at plugins/test.rhai:3:3"
    );
}

#[test]
fn imports_that_cannot_be_read_are_told() {
    assert_eq!(
        faults(&[(
            "test",
            "import \"lib/gone\" as gone;\nimport \"../etc/passwd\" as p;\nimport \"lib/x\";\nfn f(event) { gone::x() }"
        )]),
        "plugins/test.rhai:1:1: cannot import `lib/gone`: there is no plugins/lib/gone.rhai\n\
         plugins/test.rhai:2:1: `../etc/passwd` is no path of a plugin\n  hint: a path below plugins/, without its ending: `import \"lib/queue\" as queue;`\n\
         plugins/test.rhai:3:1: the import of `lib/x` has no name\n  hint: write `import \"lib/x\" as x;`\n"
    );
    assert_eq!(
        faults(&[
            ("test", "import \"lib/a\" as a;\nfn f(event) { a::x() }"),
            ("lib/a", "import \"lib/b\" as b;\nfn x() { b::x() }"),
            ("lib/b", "import \"lib/a\" as a;\nfn x() { a::x() }"),
        ]),
        "plugins/lib/b.rhai:1:1: `lib/a` imports itself: lib/a → lib/b → lib/a\n  hint: move what both need to a third file\n"
    );
    assert_eq!(
        faults(&[("test", "fn f(event) { import \"lib/a\" as a; a::x() }"), ("lib/a", "fn x() { 1 }")]),
        "plugins/test.rhai:1:15: an import inside of a function, where it would be read again at each call\n  hint: move it to the top of the file\n"
    );
    let limits = Limits { modules: 1, ..Limits::default() };
    let files =
        [("test", "import \"lib/a\" as a;\nimport \"lib/b\" as b;"), ("lib/a", "fn x() {}"), ("lib/b", "fn x() {}")];
    assert_eq!(
        shown(&compile_files(&files, &limits).err().unwrap()),
        "plugins/test.rhai:2:1: more than 1 files (`modules` of [script])\n"
    );
}

#[test]
fn calls_into_an_import_are_checked() {
    assert_eq!(
        faults(&[
            ("test", "import \"lib/a\" as a;\nfn f(event) { a::nxt(); a::next(1); a::own(); next(); a::MAX + a::LOW }"),
            ("lib/a", "export const MAX = 1;\nconst LOW = 0;\nfn next() { LOW }\nprivate fn own() {}"),
        ]),
        "plugins/test.rhai:2:18: `a` has no function `nxt`\n  hint: did you mean `next`?\n\
         plugins/test.rhai:2:28: `a::next` is called with 1 argument\n  expected 0 arguments\n\
         plugins/test.rhai:2:40: `a::own` is private\n  hint: remove `private` before its `fn`\n\
         plugins/test.rhai:2:47: unknown function `next`\n  expected a function of the file, of an import, or of plugins/README.md\n  hint: write `a::next(…)`\n\
         plugins/test.rhai:2:67: `a` has no constant `LOW` for others\n  hint: write `export const` there\n"
    );
}

#[test]
fn faults_of_all_files_are_told_at_once() {
    let told = faults(&[("test", "import \"lib/a\" as a;\nfn f(event) { x }"), ("lib/a", "fn g() { nothing() }")]);
    assert_eq!(told.lines().filter(|l| l.starts_with("plugins/")).count(), 2, "{told}");
}
