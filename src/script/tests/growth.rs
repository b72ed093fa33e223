//! Every function that a script can call, and what bounds what it makes: a new one, of Rhai's or of ours, fails here until
//! somebody has decided.

use crate::script::Limits;
use std::collections::BTreeMap;

/// `REASON: name(parameters)`, a line each. The reasons stand at the top of the file.
const DECIDED: &str = include_str!("growth.txt");

const REASONS: [&str; 6] = ["bounded", "counted", "fixed", "part", "sum", "closure"];

/// Numbers, truth values and single characters in: what comes out is no larger.
fn is_scalar(parameter: &str) -> bool {
    const SCALARS: [&str; 18] = [
        "INT", "FLOAT", "bool", "char", "()", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "i128", "u128",
        "f32", "f64", "&mut INT",
    ];
    let of = parameter.split_once(": ").map_or(parameter, |(_, of)| of);
    SCALARS.contains(&of)
}

#[test]
fn somebody_decided_what_each_function_may_make() {
    let decided: BTreeMap<&str, &str> = DECIDED
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(": ").map(|(reason, function)| (function, reason)).unwrap_or((line, "")))
        .collect();
    let engine = crate::script::engine::engine(&Limits::default());
    let mut found: Vec<(String, bool)> = engine.collect_fn_metadata(
        None,
        |info| {
            let params: Vec<&str> = info.metadata.params_info.iter().map(|p| p.as_ref()).collect();
            let scalar = !params.is_empty() && params.iter().all(|p| is_scalar(p));
            Some((format!("{}({})", info.metadata.name, params.join(", ")), scalar))
        },
        true,
    );
    found.sort();
    found.dedup();
    assert!(found.len() > 500, "{} functions found", found.len());
    let new: Vec<&str> = found
        .iter()
        .filter(|(f, scalar)| !scalar && !decided.contains_key(f.as_str()))
        .map(|(f, _)| f.as_str())
        .collect();
    assert!(new.is_empty(), "nobody decided what bounds these (growth.txt):\n{}", new.join("\n"));
    let gone: Vec<&&str> = decided.keys().filter(|d| found.iter().all(|(f, scalar)| f != *d || *scalar)).collect();
    assert!(gone.is_empty(), "there is no such function any more (growth.txt): {gone:#?}");
    let odd: Vec<_> = decided.iter().filter(|(_, reason)| !REASONS.contains(reason)).collect();
    assert!(odd.is_empty(), "no such reason: {odd:#?}");
}
