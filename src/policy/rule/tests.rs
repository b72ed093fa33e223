//! Rules, and what they say.

use super::*;
use crate::policy::tests::{Rows, Upgrade, asking, user};
use serde_json::{Value, json};

fn names() -> Names<'static> {
    Names { captures: &[Some("clinicId"), None, Some("topic")], tables: &["users", "visits"] }
}

fn rule(text: &str) -> Rule {
    Rule::compile_with(text, "subscribe", names()).unwrap_or_else(|p| panic!("{text}: {p:#?}"))
}

/// The first problem: line, column, text, and whatever helps.
fn problem(text: &str) -> (Option<(u32, u32)>, String) {
    let problems = Rule::compile_with(text, "subscribe", names()).map(|r| format!("{r:?}")).unwrap_err();
    let p = &problems[0];
    let more = [&p.expected, &p.hint].into_iter().flatten().map(|t| format!(" | {t}")).collect::<String>();
    (p.offset, format!("{}{more}", p.what))
}

fn ask(text: &str, claims: Value) -> Result<bool, String> {
    let identity = user("u1", claims);
    let rows = Rows(json!({
        "users": {"u1": {"clinicId": "c1", "wards": ["w1", "w2"], "org": {"id": 7}}, "gone": "its source is down"},
        "visits": {"7": {"patientId": "u1"}},
    }));
    let asking = Asking { request: Some(&Upgrade), tables: &rows, ..asking(&identity) };
    rule(text).holds(&asking, &["c1", "x", "a:b"]).map_err(|e| e.to_string())
}

fn yes(text: &str, claims: Value) {
    assert_eq!(ask(text, claims), Ok(true), "{text}");
}

fn no(text: &str, claims: Value) {
    assert_eq!(ask(text, claims), Ok(false), "{text}");
}

#[test]
fn rules_read_user_channel_request_tables_and_time() {
    let claims = || json!({"role": "staff", "clinicId": "c1", "org": {"id": "o1", "tags": ["a", "b"]}, "level": 3});
    for text in [
        r#"user.role == "admin" || user.clinicId == clinicId"#,
        r#"user.id == "u1" && user.known"#,
        r#"user.org.id == "o1""#,
        r#"user.org["id"] == "o1" && user["org"].id == "o1""#,
        r#"user.org.tags[1] == "b" && user.org.tags[-1] == "b""#,
        r#""a" in user.org.tags && "c" !in user.org.tags"#,
        r#"user.role in ["staff", "admin"]"#,
        r#"["staff", "admin"].contains(user.role)"#,
        r#""clinicId" in user && "nope" !in user && user.contains("role")"#,
        r#"user.level > 2 && user.level < 3.5 && user.level * 2 == 6"#,
        r#"user.role.starts_with("st") && user.role.len() == 5 && len(user.org.tags) == 2"#,
        r#"user.role.to_upper() == "STAFF" && user.role.contains("taf")"#,
        r#"`${user.clinicId}-${user.level}` == "c1-3" && "c" + "1" == clinicId"#,
        r#"(user.nick ?? user.role) == "staff""#,
        r#"topic == "a:b""#,
        r#"request.path == "/ws" && request.query.room == clinicId && request.ip == "127.0.0.1""#,
        r#"request.headers["User-Agent"] == "curl" && "user-agent" in request.headers"#,
        r#"request.vars.tenant == "acme""#,
        r#"tables.users[user.id].clinicId == clinicId && user.id in tables.users"#,
        r#""w2" in tables.users[user.id].wards && tables.users.u1.org.id == 7"#,
        r#"tables.visits["7"].patientId == user.id && tables.visits[tables.users[user.id].org.id].patientId == "u1""#,
        r#"now > 1704623399999 && now - 400000 == 1704623000000"#,
        "user.known &&\n  user.role == \"staff\"",
    ] {
        yes(text, claims());
    }
}

#[test]
fn what_is_missing_decides_nothing() {
    for text in [
        "user.a == user.b",
        "user.a != user.b",
        r#"user.a == "x""#,
        r#"user.a != "x""#,
        r#"!(user.a == "x")"#,
        r#"!(user.a == "x" && user.known)"#,
        "user.a < 1 || user.a >= 1",
        "user.a",
        "!user.a",
        "user.x.y == 1",
        "user.x.y.z != 1",
        "!user.x.y",
        r#""v" in user.a"#,
        r#""v" !in user.a"#,
        "user.a in [\"x\"]",
        "user.a !in [\"x\"]",
        r#"tables.users["u2"].banned != true"#,
        r#"!tables.users["u2"].banned"#,
        "tables.users[user.a].clinicId != clinicId",
        r#"!user.a.starts_with("x")"#,
        r#"`tenant-${user.a}` != "tenant-1""#,
        "user.a + 1 != 2",
        "user.n == user.m",
        "request.query.nope != request.headers.nope",
    ] {
        no(text, json!({"n": null, "m": null}));
    }
    // The rest of the rule is heard all the same.
    yes(r#"user.a == "x" || user.known"#, json!({}));
    no(r#"user.a == "x" && user.known"#, json!({}));
    yes(r#"user.x.y == "z" || tables.visits["0"].patientId == user.id || user.known"#, json!({}));
}

#[test]
fn things_of_different_kinds_are_neither_equal_nor_different() {
    for text in ["user.n == \"12\"", "user.n != \"12\"", "user.n < \"2\"", "user.l == \"a\"", "user.t == true"] {
        no(text, json!({"n": 12, "l": ["a"], "t": "true"}));
    }
    yes("user.n.to_string() == \"12\" && user.n == 12.0", json!({"n": 12}));
}

#[test]
fn roles_are_always_a_list() {
    for claims in [
        json!({"roles": ["admin"]}),
        json!({"role": "admin"}),
        json!({"roles": "admin", "role": "x"}),
        json!({"roles": ["x", "admin"], "role": "x"}),
    ] {
        yes(r#""admin" in user.roles"#, claims);
    }
    for claims in [json!({}), json!({"roles": null}), json!({"roles": ["superadmin"]}), json!({"role": "not-an-admin"})]
    {
        no(r#""admin" in user.roles"#, claims);
    }
}

#[test]
fn a_part_of_a_text_is_no_member() {
    // A claim that is a list for some and a text for others must not match by its parts.
    let error = ask(r#""admin" in user.groups"#, json!({"groups": "not-an-admin"})).unwrap_err();
    assert!(error.contains("at 1:12 of the rule, `in` looks into lists and maps"), "{error}");
    yes(r#""read" in user.scope.split(" ")"#, json!({"scope": "write read"}));
    no(r#""read" in user.scope.split(" ")"#, json!({"scope": "write reads"}));
}

#[test]
fn an_error_refuses_with_its_place() {
    for (text, claims, error) in [
        ("user.name.first == 1", json!({"name": "x"}), "at 1:11 of the rule, a text has no `first`"),
        ("user.name", json!({"name": "x"}), "at 1:1 of the rule, a text stands where true or false should"),
        ("user.known &&\n user.n / 0 == 1", json!({"n": 1}), "at 2:9 of the rule, too large a number"),
        ("user.n.len() == 1", json!({"n": 1}), "at 1:8 of the rule, `len` does not know a number"),
        ("-user.n == 1", json!({"n": u64::MAX}), "too large"),
        ("user.n * 1.0 == user.n * 1.0", json!({"n": u64::MAX}), "too large"),
        ("user.big + user.big == \"\"", json!({"big": "x".repeat(4000)}), "a text of more than 4096 bytes"),
        ("user.n.parse_int() == 1", json!({"n": "1x"}), "no whole number"),
    ] {
        let told = ask(text, claims).unwrap_err();
        assert!(told.contains(error), "{told}");
    }
}

#[test]
fn whole_numbers_of_64_bits_are_told_apart() {
    for (n, other) in
        [(u64::MAX, u64::MAX - 1), (1 << 63, (1 << 63) - 1), (9_007_199_254_740_993, 9_007_199_254_740_992)]
    {
        let claims =
            || json!({"n": n, "same": n, "other": other, "list": [other], "all": [other, n], "text": n.to_string()});
        yes("user.n == user.same && user.n in user.all && user.n != user.other && user.other < user.n", claims());
        yes("user.n !in user.list && user.n - user.other == 1 && user.n.to_string() == user.text", claims());
        yes("user.text.parse_int() == user.n && `${user.n}` != `${user.other}`", claims());
        no("user.n == user.text || user.n == 1.5", claims());
    }
    let (at, told) = problem("user.n == 18446744073709551615");
    assert_eq!(at, Some((1, 11)));
    assert!(told.starts_with("a number too large to be told from its neighbours"), "{told}");
}

#[test]
fn a_row_that_cannot_be_had_is_neither_there_nor_missing() {
    for undecided in [
        "tables.users.gone.clinicId == clinicId",
        "!(tables.users.gone.clinicId == clinicId)",
        r#""gone" !in tables.users"#,
        r#"(tables.users.gone.clinicId ?? "c1") == clinicId"#,
        r#"user.known && "gone" in tables.users"#,
        r#""gone" in tables.users || user.role == "admin""#,
    ] {
        let told = ask(undecided, json!({})).unwrap_err();
        assert!(told.contains("the row of table `users` cannot be had now"), "{undecided}: {told}");
    }
    yes(r#""gone" in tables.users || user.known"#, json!({}));
    no(r#"tables.users.gone.x == 1 && !user.known"#, json!({}));
}

#[test]
fn mistakes_are_found_at_load_with_their_place() {
    for (text, at, says) in [
        ("user.known && usr.id == 1", (1, 15), "unknown variable `usr` | `clinicId`, `topic`, `user`"),
        ("user.known && usr.id == 1", (1, 15), "did you mean `user`?"),
        ("user.known\n && clinicID == \"x\"", (2, 5), "did you mean `clinicId`?"),
        ("user.id.start_with(\"x\")", (1, 9), "did you mean `starts_with`?"),
        ("frobnicate(1)", (1, 1), "unknown function `frobnicate`"),
        ("eval(\"1\")", (1, 1), "unknown function `eval`"),
        ("user.id.starts_with()", (1, 9), "`starts_with` with 0 arguments | 1 of them"),
        ("starts_with(user.id)", (1, 1), "`starts_with` with 1 argument | 2 of them"),
        (
            "request.pth == \"/\"",
            (1, 1),
            "a request has no `pth` | `path`, `query`, `headers`, `ip` or `vars` | did you mean",
        ),
        ("tables.user[user.id].x == 1", (1, 1), "did you mean `users`?"),
        ("user.x == ()", (1, 11), "`()` compares with nothing"),
        ("user == 1", (1, 1), "`user` is no value"),
        ("tables.users == 1", (1, 1), "`tables.users` is no value"),
        ("user.roles == \"admin\"", (1, 1), "write `\"admin\" in user.roles`"),
        ("user.id", (1, 1), "a text stands where true or false should"),
        ("user.known && clinicId", (1, 15), "a text stands where true or false should"),
        ("!now", (1, 2), "a number stands where"),
        ("user.a & user.b", (1, 8), "did you mean `&&`?"),
        ("user.id in \"abc\"", (1, 12), "`in` looks into lists and maps"),
        ("1 / 0 == 1", (1, 3), "this always fails"),
        ("user.id = 1", (1, 9), "compare with `==`"),
        ("user.id === 1", (1, 9), "compare with `==`"),
        ("user.known &&", (1, 14), "no rule:"),
        ("user.id == 'u1'", (1, 12), "double quotes"),
        ("if user.known { true } else { false }", (1, 1), "no rule:"),
        ("while true {}", (1, 1), "no rule:"),
        ("user.roles.some(|r| r == \"x\")", (1, 17), "no rule:"),
        ("this == 1", (1, 1), "no rule:"),
        ("#{a: 1} == user.x", (1, 1), "no"),
        ("a::b == 1", (1, 1), "this is no part of a rule"),
        ("user.known; true", (1, 11), "no rule:"),
        ("user.known // so\rit is", (1, 23), "no rule:"),
    ] {
        let (offset, told) = problem(text);
        assert!(told.contains(says), "{text}: {told}");
        assert_eq!(offset, Some(at), "{text}: {told}");
    }
    assert!(problem("  ").1.contains("an empty rule"));
}

#[test]
fn what_needs_nothing_is_worked_out_at_load() {
    for (text, verdict) in [
        ("true", true),
        ("false", false),
        ("1 + 1 == 2", true),
        ("true || user.known", true),
        ("false && user.known", false),
        ("!true || 2 > 3", false),
        ("\"a\" in [\"a\", \"b\"]", true),
        ("\"abc\".starts_with(\"ab\")", true),
        ("(user.known || true) && false && user.x", false),
    ] {
        let rule = rule(text);
        if rule.reads() == Reads::NOTHING {
            assert_eq!(rule.constant(), Some(verdict), "{text}");
        }
        assert_eq!(rule.holds(&asking(&user("", json!({}))), &[]), Ok(verdict), "{text}");
    }
    assert_eq!(rule("user.x.y == 1 || true").constant(), None, "an error on the way is still met");
}

#[test]
fn a_rule_knows_what_it_reads() {
    for (text, reads, cache) in [
        ("true", Reads::NOTHING, Cache::Always),
        ("user.role == \"x\"", Reads::USER, Cache::Class),
        ("\"x\" in user", Reads::USER, Cache::Class),
        ("clinicId == \"x\"", Reads::VARS, Cache::Channel),
        ("user.id == clinicId", Reads::USER | Reads::VARS, Cache::Channel),
        ("request.headers.host == clinicId", Reads::REQUEST | Reads::VARS, Cache::Never),
        ("\"x\" in request.query", Reads::REQUEST, Cache::Never),
        ("tables.users[clinicId].x", Reads::TABLES | Reads::VARS, Cache::Never),
        ("user.id in tables.users", Reads::TABLES | Reads::USER, Cache::Never),
        ("now > user.exp", Reads::NOW | Reads::USER, Cache::Never),
        ("[clinicId].contains(user[topic])", Reads::USER | Reads::VARS, Cache::Channel),
    ] {
        let rule = rule(text);
        assert_eq!((rule.reads(), rule.reads().cache()), (reads, cache), "{text}");
    }
}

#[test]
fn deep_and_huge_rules_are_problems() {
    for text in [
        "(".repeat(10_000),
        "!".repeat(3_000) + "true",
        format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000)),
        ["[", "]"].map(|t| t.repeat(2_000)).concat(),
        format!("user{} == 1", ".a".repeat(2_000)),
        format!("user{}", "[user".repeat(800)),
        "`${".repeat(1_000),
        "1 + ".repeat(1_000) + "1 == 1",
        format!("user.known || {}", " ".repeat(TEXT_MAX)),
        "tables.users.a.x || ".repeat(LOOKUPS_MAX) + "tables.users.a.x",
        format!("{}1{}", "len(".repeat(500), ")".repeat(500)),
    ] {
        let problems = Rule::compile_with(&text, "subscribe", names());
        assert!(problems.is_err(), "{}", &text[..20]);
    }
    // Long but flat is well.
    let flat = ["user.id == \"u\""; 60].join(" || ");
    no(&flat, json!({}));
}

#[test]
fn control_characters_stay_what_they_are() {
    yes(r#"user.x == "a\n\u0000b""#, json!({"x": "a\n\u{0}b"}));
    no(r#"user.x == "a""#, json!({"x": "a\u{0}"}));
    assert!(problem("user.known \u{0} && true").1.contains("no rule"));
}
