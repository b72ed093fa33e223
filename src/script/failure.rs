//! Why a call failed, as its developer reads it.

use rhai::{EvalAltResult, Position};
use std::fmt;

/// A handler's mistake, or a bound that it met.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What happened, with the chain of calls.
    pub what: String,
    /// As faults show it; empty where unknown.
    pub file: String,
    /// 1-based; 0: unknown.
    pub line: u32,
    pub column: u32,
    pub kind: FaultKind,
}

/// Which bound was met; `as_str` is the label `limit` of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    Operations,
    Deadline,
    /// Functions that call functions.
    Depth,
    /// A text, an array, a map, or variables.
    Size,
    /// Memory that the call holds.
    Memory,
    /// Effects, in number or bytes.
    Effects,
    /// Timers of one entity.
    Timers,
    /// Something read of the gateway or the store did not come.
    Read,
    /// Whatever else a script does wrong.
    Error,
    /// Weir's own mistake.
    Panic,
}

impl FaultKind {
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Operations => "operations",
            FaultKind::Deadline => "deadline",
            FaultKind::Depth => "call_depth",
            FaultKind::Size => "size",
            FaultKind::Memory => "call_bytes",
            FaultKind::Effects => "effects",
            FaultKind::Timers => "timers",
            FaultKind::Read => "read",
            FaultKind::Error => "error",
            FaultKind::Panic => "panic",
        }
    }

    /// A bound, not a mistake.
    pub fn is_limit(self) -> bool {
        !matches!(self, FaultKind::Error | FaultKind::Panic)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str(&self.what),
            (file, 0) => write!(f, "{file}: {}", self.what),
            (file, line) => write!(f, "{file}:{line}:{}: {}", self.column, self.what),
        }
    }
}

impl Fault {
    pub(super) fn new(kind: FaultKind, what: impl Into<String>) -> Fault {
        Fault { what: what.into(), file: String::new(), line: 0, column: 0, kind }
    }

    pub(super) fn on_line(mut self, file: &str, line: u32) -> Fault {
        self.file = file.to_owned();
        (self.line, self.column) = (line, 1);
        self
    }

    pub(super) fn at(mut self, file: &str, place: Position) -> Fault {
        self.file = file.to_owned();
        (self.line, self.column) = line_column(place);
        self
    }
}

pub(super) fn line_column(place: Position) -> (u32, u32) {
    (place.line().unwrap_or(0) as u32, place.position().unwrap_or(if place.is_none() { 0 } else { 1 }) as u32)
}

/// Where an error happened, which calls led there, and the error itself. `file`: of the handler.
pub(super) struct Traced<'a> {
    pub error: &'a EvalAltResult,
    pub file: String,
    pub place: Position,
    /// ``in `helper`, called at plugins/x.rhai:3:5``, innermost first.
    pub calls: Vec<String>,
}

pub(super) fn trace<'a>(error: &'a EvalAltResult, file: &str) -> Traced<'a> {
    let (mut error, mut file, mut calls) = (error, file.to_owned(), Vec::new());
    let mut place = error.position();
    while let EvalAltResult::ErrorInFunctionCall(name, source, inner, at) = error {
        let (line, column) = line_column(*at);
        // `anon$…`: a closure.
        let name = if name.starts_with("anon$") { "a closure".to_owned() } else { format!("`{name}`") };
        calls.push(format!("in {name}, called at {file}:{line}:{column}"));
        if !source.is_empty() {
            file.clone_from(source);
        }
        error = inner;
        if !error.position().is_none() {
            place = error.position();
        }
    }
    calls.reverse();
    Traced { error, file, place, calls }
}
