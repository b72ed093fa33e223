//! Where a call ends that would not end, and that scripts cannot keep it from ending.

use super::support::*;
use crate::model::*;
use crate::script::{Fault, *};

fn fault(text: &str, limits: Limits) -> Fault {
    bench_with(text, limits).fault("f", &message("{}"))
}

#[test]
fn an_endless_loop_meets_the_bound_of_operations() {
    let limits = Limits { operations: 10_000, ..patient() };
    let fault = fault("fn f(event) { try { loop {} } catch { loop {} } }", limits);
    assert_eq!(fault.kind, FaultKind::Operations);
    assert_eq!(
        fault.to_string(),
        "plugins/test.rhai:1:1: more than 10000 operations in one call (`operations` of [script]); an endless loop?"
    );
}

#[test]
fn the_deadline_ends_a_loop_and_cannot_be_caught() {
    let limits = Limits { deadline: Ms(20), operations: u64::MAX, ..Limits::default() };
    let text = "fn f(event) { try { spin() } catch { spin() } }\nfn spin() { try { loop {} } catch { loop {} } }";
    let fault = fault(text, limits);
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(fault.what.starts_with("the call took longer than 20 ms (`deadline` of [script])"), "{fault}");
    assert_eq!(fault.file, "plugins/test.rhai");
}

#[test]
fn endless_recursion_ends_at_the_bound_of_calls() {
    let thread = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(|| fault("fn f(event) { deeper(1) }\nfn deeper(n) { deeper(n + 1) }", patient()));
    let fault = thread.unwrap().join().unwrap();
    assert_eq!(fault.kind, FaultKind::Depth);
    assert!(
        fault.what.starts_with("functions call each other more than 32 deep (`call_depth` of [script])"),
        "{fault}"
    );
}

#[test]
fn texts_arrays_and_maps_stop_growing() {
    for (body, what) in [
        ("let s = \"x\"; loop { s += s; }", "a text of more than 262144 bytes"),
        ("let a = []; loop { a.push(a); }", "an array of more than 10000 elements"),
        ("let a = [0]; loop { a += a; }", "an array of more than 10000 elements"),
        (
            "let m = #{}; let n = 0; loop { let o = #{}; o[`k${n}`] = n; m += o; n += 1; }",
            "a map of more than 500 entries",
        ),
        (
            "this.list = []; loop { this.list.push(\"0123456789012345678901234567890123456789\"); }",
            "a text of more than",
        ),
        ("let a = []; a.pad(1000000000, 0);", "an array of more than 10000 elements"),
        ("let s = \"x\"; s.pad(1000000000, \"xy\");", "a text of more than"),
    ] {
        let fault =
            fault(&format!("fn f(event) {{ {body} }}"), Limits { operations: 50_000_000, map_items: 500, ..patient() });
        assert_eq!((fault.kind, fault.what.contains(what)), (FaultKind::Size, true), "{body}: {fault}");
    }
}

#[test]
fn a_map_that_grows_key_by_key_meets_the_bound_of_operations() {
    let text = "fn f(event) { let n = 0; loop { this[`k${n}`] = n; n += 1; } }";
    assert_eq!(fault(text, Limits { operations: 20_000, ..patient() }).kind, FaultKind::Operations);
}

#[test]
fn effects_are_bounded_in_number_and_bytes() {
    let limits = Limits { effects: 3, ..patient() };
    let found = fault("fn f(event) { try { for n in 0..9 { publish(\"a\", n); } } catch { } }", limits);
    assert_eq!(found.kind, FaultKind::Effects);
    assert_eq!(found.to_string(), "plugins/test.rhai:1:1: more than 3 effects in one call (`effects` of [script])");
    let limits = Limits { effect_bytes: Size(1_000), ..patient() };
    let found = fault("fn f(event) { let s = \"\"; s.pad(600, \"x\"); publish(\"a\", s); publish(\"b\", s); }", limits);
    assert_eq!(found.kind, FaultKind::Effects);
    assert!(found.what.contains("more than 1000 bytes of messages in one call"), "{found}");
}

#[test]
fn lines_that_are_printed_are_bounded_as_effects_are() {
    let found = fault("fn f(event) { loop { print(\"again\"); } }", Limits { effects: 5, ..patient() });
    assert_eq!(found.kind, FaultKind::Effects);
}

#[test]
fn a_read_that_does_not_come_ends_the_call() {
    let mut bench = bench("fn f(event) { try { history(\"room:1\") } catch { } }");
    bench.host.fails = Some(Code::Overloaded);
    let fault = bench.fault("f", &message("{}"));
    assert_eq!(fault.kind, FaultKind::Read);
    assert!(fault.what.starts_with("what was read did not come within 50 ms (`read_wait` of [script])"), "{fault}");
    bench.host.fails = Some(Code::NotFound);
    assert!(bench.run("f", &message("{}")).is_ok(), "what is not there can be caught");
}

#[test]
fn what_clients_published_makes_no_fault_of_a_history() {
    let depth = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let texts = [
        "1e400".to_owned(),
        "1180591620717411303424".to_owned(),
        r#""\ud800""#.to_owned(),
        depth,
        format!("\"{}\"", "x".repeat(300_000)),
        format!("\"{}\"", "x".repeat(2_000_000)),
        format!("[{}0]", "0,".repeat(20_000)),
        "7".to_owned(),
    ];
    let mut bench = bench("fn f(event) { reply(history(\"room:1\").map(|e| e.data)) }");
    bench.host.published = Some(texts.into());
    let ran = bench.run("f", &message("{}")).unwrap();
    assert_eq!(ran.left_out, 7);
    assert!(format!("{:?}", ran.effects).contains("[7]"), "{:?}", ran.effects);
}

#[test]
fn of_a_history_too_large_for_one_value_the_newest_are_read() {
    let texts = |text: &str| (0..1_000).map(|n| format!("[{n},\"{text}\"]")).collect::<Vec<_>>();
    let many = format!("[{}0]", "{\"a\":0,\"b\":1},".repeat(200));
    // By text, by elements, by entries, and by what one call looks at.
    for published in [texts(&"x".repeat(1_000)), texts(""), vec![many; 1_000], vec![" ".repeat(9_000) + "1"; 1_000]] {
        let text =
            "fn f(event) { let all = history(\"room:1\", 1000); reply([all[0].offset, all[all.len - 1].offset]) }";
        let mut bench = bench(text);
        bench.host.published = Some(published);
        let ran = bench.run("f", &message("{}")).unwrap();
        let (shown, left_out) = (format!("{:?}", ran.effects), ran.left_out);
        assert!(shown.contains(",1000]") && left_out == 0, "{left_out} {shown}");
    }
}

#[test]
fn of_connections_too_many_for_one_value_the_oldest_are_read() {
    let mut bench = bench("fn f(event) { reply(connections().len) }");
    bench.host.crowd = Some((200, 1_000));
    let ran = bench.run("f", &message("{}")).unwrap();
    assert!(format!("{:?}", ran.effects).contains("49"), "{:?}", ran.effects);
}

#[test]
fn a_message_too_large_for_handlers_is_refused_not_counted_as_a_fault() {
    let mut bench = bench_with("fn f(event) { event.data }", Limits { array_items: 10, ..patient() });
    let refusal = bench.refusal("f", &message("[1,2,3,4,5,6,7,8,9,10,11]"));
    assert_eq!(refusal.code, Code::TooLarge);
    assert_eq!(bench.refusal("f", &message("{no json")).code, Code::InvalidMessage);
    assert!(bench.run("f", &message("[1,2,3]")).is_ok());
}

#[test]
fn a_deeply_nested_message_is_refused() {
    let mut bench = bench_with("fn f(event) { event.data }", patient());
    let deep = "[".repeat(100_000);
    assert_eq!(bench.refusal("f", &message(&deep)).code, Code::InvalidMessage);
}

#[test]
fn values_inside_of_values_end_before_the_stack_does() {
    // A tenth of what there is by default, on a tenth of the stack: sizes are counted anew at each step.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES / 10).spawn(|| {
        let limits = || Limits { array_items: Limits::default().array_items / 10, ..patient() };
        let found = fault("fn f(event) { let a = []; loop { a = [a]; } }", limits());
        assert_eq!(found.kind, FaultKind::Size);
        fault("fn f(event) { let a = []; for n in 0..990 { a = [a]; } this.a = a; publish(\"a\", a); }", limits())
    });
    assert!(thread.unwrap().join().unwrap().what.ends_with("a value nested deeper than 100 cannot be sent"));
    let mut bench = bench("fn f(event) { let a = 1; for n in 0..101 { a = #{ a: a }; } publish(\"a\", a); }");
    assert!(bench.fault("f", &message("{}")).what.ends_with("a value nested deeper than 100 cannot be sent"));
}

#[test]
fn too_many_variables_are_a_fault() {
    let fault = fault("fn f(event) { let a = 1; let b = 2; let c = 3; }", Limits { variables: 3, ..patient() });
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Size, "more than 3 variables (`variables` of [script])"));
}

#[test]
fn expressions_nested_too_deep_are_a_fault_at_load() {
    let limits = Limits { expression_depth: 16, ..patient() };
    let text = format!("fn f(event) {{ {}1{} }}", "(1 + ".repeat(40), ")".repeat(40));
    let told = shown(&compile(&text, &limits).err().unwrap());
    assert!(told.contains("expressions nested too deep (`expression_depth` of [script])"), "{told}");
}
