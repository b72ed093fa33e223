//! Bounds that closures and native functions share with the call: operations, time, memory, stack.

use super::support::*;
use crate::model::*;
use crate::script::{Fault, *};

fn fault(body: &str, limits: Limits) -> Fault {
    bench_with(&format!("fn f(event) {{ {body} }}"), limits).fault("f", &message("{}"))
}

#[test]
fn closures_count_towards_the_operations_of_their_call() {
    let limits = || Limits { operations: 20_000, ..patient() };
    for body in [
        "let a = []; a.pad(300, 1); let b = a; let c = a; a.filter(|x| b.some(|y| c.some(|z| x + y + z == 0)))",
        "let a = []; a.pad(300, 1); let b = a; let c = a; a.map(|x| b.map(|y| c.reduce(|sum, z| sum + z, 0)))",
        "let a = []; a.pad(300, 1); let b = a; let c = a; a.for_each(|x| b.for_each(|y| c.index_of(|z| z == 0)))",
        "let a = []; a.pad(300, 1); loop { a.sort(|x, y| x - y); }",
        "let a = []; a.pad(300, 1); loop { a.dedup(|x, y| false); }",
        "let a = []; a.pad(300, 1); loop { a.retain(|x| true); a.drain(|x| false); }",
        "let a = []; a.pad(300, [1, 2, 3]); loop { a.index_of([4]); a.contains(5); }",
        "let m = #{ a: 1, b: 2 }; loop { m.map(|v, k| v); m.filter(|v, k| true); }",
        "try { [1].map(|x| { loop {} }) } catch { loop {} }",
        // These swallow what their closures raise.
        "let a = []; a.pad(300, 1); a.sort(|x, y| { try { loop {} } catch { loop {} } });",
        "let a = []; a.pad(300, 1); a.dedup(|x, y| { loop {} });",
    ] {
        let found = fault(body, limits());
        assert_eq!(found.kind, FaultKind::Operations, "{body}: {found}");
    }
}

#[test]
fn the_deadline_ends_closures_and_what_swallows_their_errors() {
    let limits = || Limits { deadline: Ms(20), operations: u64::MAX, ..Limits::default() };
    for body in [
        "[1].map(|x| { loop {} })",
        "[1, 2].sort(|x, y| { loop {} }); loop {}",
        "try { [1].some(|x| { try { loop {} } catch { loop {} } }) } catch { loop {} }",
    ] {
        let found = fault(body, limits());
        assert_eq!(found.kind, FaultKind::Deadline, "{body}: {found}");
    }
}

#[test]
fn a_call_holds_no_more_than_its_bytes() {
    let limits = || Limits { call_bytes: Size(4 << 20), operations: u64::MAX, ..patient() };
    let text = "let text = \"\"; text.pad(200000, \"a\"); ";
    for body in [
        // No array, map or text of these is too large by itself.
        "let a = []; a.pad(9000, 1); a.map(|n| text + n)",
        "let a = []; a.pad(9000, 1); a.for_each(|n| this = text + n)",
        "let m = #{}; for n in 0..9000 { m[text + n] = n; }",
        "let b = []; for n in 0..99 { let c = [text + n]; b.push(|| c); }",
        "fn more(t, n) { let own = t + n; let other = t + own.len; more(t, n + 1); own + other }",
        "let a = []; a.pad(9000, 1); a.zip(a, |x, y| text + x)",
        "let a = []; a.pad(9000, 1); a.reduce(|so_far, x| #{ text: text + x, before: || so_far }, ())",
    ] {
        let text = if body.starts_with("fn ") {
            format!("fn f(event) {{ {text} more(text, 0) }} {body}")
        } else {
            format!("fn f(event) {{ {text} {body} }}")
        };
        let found = bench_with(&text, limits()).fault("f", &message("{}"));
        assert_eq!(found.kind, FaultKind::Memory, "{body}: {found}");
    }
    let found = fault(&format!("{text} let a = []; a.pad(9000, 1); a.map(|n| text + n)"), limits());
    assert_eq!(found.what, "the call holds more than 4194304 bytes (`call_bytes` of [script])");
}

#[test]
fn a_text_that_is_made_again_and_again_is_not_held() {
    let limits = Limits { call_bytes: Size(4 << 20), operations: u64::MAX, ..patient() };
    let body = "let text = \"\"; text.pad(200000, \"a\"); for n in 0..500 { let other = text + n; } 1";
    assert!(bench_with(&format!("fn f(event) {{ {body} }}"), limits).run("f", &route()).is_ok());
}

#[test]
fn natives_look_before_they_allocate() {
    // Without that, most of these would ask for more memory than there is.
    let big = "let big = \"\"; big.pad(200000, \"a\"); let items = []; items.pad(9999, 0); ";
    for body in [
        "big.replace(\"a\", big)",
        "big.replace(\"\", big)",
        "big.replace('a', big)",
        "big.replace(\"a\", '€')",
        "big.replace('a', '€')",
        "big.pad(9000000000000000000, \"€\")",
        "big.pad(9000000000000000000, 'x')",
        "big.pad(250000, '€')",
        "big.split(\"\")",
        "big.split('a')",
        "big.split(\"a\", 100000)",
        "big.split('a', 100000)",
        "big.split_rev(\"a\")",
        "big.split_rev('a')",
        "big.split_rev(\"a\", 100000)",
        "big.split_rev('a', 100000)",
        "big.replace(\"aa\", \"a \"); big.split()",
        "big.to_chars()",
        // `pad * (items + 1)` is 0 in 64 bits.
        "items.truncate(8191); let a = []; a.pad(1 << 51, items)",
        "let a = []; a.pad(9000000000000000000, 0)",
        "let m = #{ a: big }; m.to_json() + m.to_json()",
    ] {
        let found = bench_with(&format!("fn f(event) {{ {big} {body} }}"), patient()).fault("f", &message("{}"));
        assert_eq!(found.kind, FaultKind::Size, "{body}: {found}");
    }
}

#[test]
fn bounded_natives_do_what_rhai_s_own_do() {
    for (body, is) in [
        (r#"let s = "a-b-c"; s.replace("-", "+ +"); s"#, r#""a+ +b+ +c""#),
        (r#"let s = "ab"; s.replace("", "-"); s"#, r#""-a-b-""#),
        (r#"let s = ""; s.replace("", "-"); s"#, r#""""#),
        (r#"let s = "a-b"; s.replace('-', '+'); s.replace('+', "::"); s.replace("::", '.'); s"#, r#""a.b""#),
        (r#"let s = "ab"; s.pad(5, "xyz"); s"#, r#""abxyz""#),
        (r#"let s = "ab"; s.pad(6, "xyz"); s"#, r#""abxyzx""#),
        (r#"let s = "ab"; s.pad(4, '€'); s"#, r#""ab€€""#),
        (r#"let s = "ab"; s.pad(-1, '€'); s.pad(1, "x"); s"#, r#""ab""#),
        // Rhai's own would never end.
        (r#"let s = "ab"; s.pad(10, ""); s"#, r#""ab""#),
        (r#"let a = [1]; a.pad(3, [0]); a.pad(-1, 7); a"#, "[1,[0],[0]]"),
        (r#""a,b,,c".split(",")"#, r#"["a","b","","c"]"#),
        (r#""a,b,c".split(",", 2)"#, r#"["a","b,c"]"#),
        (r#""a,b,c".split(',', 0)"#, r#"["a,b,c"]"#),
        (r#""a,b,c".split_rev(",")"#, r#"["c","b","a"]"#),
        (r#""a,b,c".split_rev(',', 2)"#, r#"["c","a,b"]"#),
        (r#""ab".split("")"#, r#"["","a","b",""]"#),
        (r#""".split(",")"#, r#"[""]"#),
        (r#"" a  b ".split()"#, r#"["a","b"]"#),
        (r#""".split()"#, r#"[""]"#),
        (r#""abc".split(1)"#, r#"["a","bc"]"#),
        (r#""añ".to_chars()"#, r#"["a","ñ"]"#),
        (r#"#{ b: [1, 2.5], a: () }.to_json()"#, r#""{\"a\":null,\"b\":[1,2.5]}""#),
    ] {
        assert_eq!(value(body).to_string(), is, "{body}");
    }
}

#[test]
fn what_is_read_of_the_gateway_is_as_large_as_a_value_may_be() {
    // Each of its events has five entries, and two in its data.
    let limits = Limits { map_items: 20, ..patient() };
    let mut bench = bench_with("fn f(event) { reply(history(\"room:1\", 3).map(|e| e.offset)) }", limits);
    let ran = bench.run("f", &message("{}")).unwrap();
    assert!(format!("{:?}", ran.effects).contains("[2,3]"), "{:?}", ran.effects);
    let limits = Limits { array_items: 3, ..patient() };
    let found = bench_with("fn f(event) { parse_json(\"[1,2,3,4]\") }", limits).fault("f", &message("{}"));
    assert!(found.what.contains("more elements than `array_items` of [script]"), "{found}");
}

#[test]
fn natives_that_call_natives_end_before_the_stack_does() {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        let deep = "let a = []; let b = []; for n in 0..700 { a = [a]; b = [b]; } ";
        for body in ["a == b", "`${a}`", "[a].index_of(b)", "[a, b].dedup()"] {
            // That it comes back is what counts.
            let ran = bench_with(&format!("fn f(event) {{ {deep} {body} }}"), patient()).run("f", &route());
            println!(
                "{body}: {:?}",
                ran.map(|_| "well").map_err(|e| format!("{e:?}").chars().take(90).collect::<String>())
            );
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn constants_are_bounded_at_load() {
    let limits = Limits { operations: 20_000, ..patient() };
    let text = "const A = [1, 2, 3, 4, 5, 6, 7, 8, 9];\nconst B = A.map(|a| [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|b| [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|c| [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|d| d))));";
    let told = shown(&compile(text, &limits).err().unwrap());
    assert!(told.contains("plugins/test.rhai:2:"), "{told}");
    assert!(
        told.contains("more than 20000 operations in one call (`operations` of [script]); an endless loop?"),
        "{told}"
    );
}
