//! One mistake in the files, as its operator reads it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// One mistake: where it stands, what is wrong, what was expected, a hint. JSON has the same fields.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// As the operator would open it, relative to where `weir` runs; [`Fault::ENVIRONMENT`] for a variable.
    pub file: Arc<str>,
    /// 1-based; 0: the file as a whole.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
    /// ``unknown overflow `forevr` ``
    pub what: String,
    /// `` `close`, `drop_oldest` or `conflate` ``
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// ``did you mean `close`?``
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// Stands in `file` for a mistake in an environment variable.
    pub const ENVIRONMENT: &str = "environment";

    /// A fault of the file as a whole.
    pub fn of_file(file: &str, what: impl Into<String>) -> Fault {
        Fault { file: file.into(), line: 0, column: 0, what: what.into(), expected: None, hint: None }
    }

    pub fn expected(mut self, expected: impl Into<String>) -> Fault {
        self.expected = Some(expected.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected {expected}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Sorted by file and position, each said once: two rooms may find the same, and expect it in other words.
pub fn sorted(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort();
    faults.dedup_by(|a, b| (&a.file, a.line, a.column, &a.what) == (&b.file, b.line, b.column, &b.what));
    faults
}

/// `3 faults in 2 files`
pub fn summary(faults: &[Fault]) -> String {
    let places: BTreeSet<&str> = faults.iter().map(|f| &*f.file).collect();
    let files = places.iter().filter(|p| **p != Fault::ENVIRONMENT).count();
    let mut at = Vec::new();
    if files > 0 {
        at.push(count(files, "file"));
    }
    if files < places.len() {
        at.push("the environment".to_owned());
    }
    format!("{} in {}", count(faults.len(), "fault"), at.join(" and "))
}

/// `1 fault`, `2 faults`
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(file: &str, line: u32, column: u32) -> Fault {
        Fault { line, column, ..Fault::of_file(file, "unknown overflow `forevr`") }
    }

    #[test]
    fn a_fault_reads_as_the_style_shows() {
        let text = fault("channels/clinic.toml", 7, 11)
            .expected("`close`, `drop_oldest` or `conflate`")
            .hint("did you mean `close`?")
            .to_string();
        assert_eq!(
            text,
            "channels/clinic.toml:7:11: unknown overflow `forevr`\n  expected `close`, `drop_oldest` or `conflate`\n  hint: did you mean `close`?"
        );
        assert_eq!(Fault::of_file("channels", "empty").to_string(), "channels: empty");
    }

    #[test]
    fn faults_are_told_in_reading_order_and_once() {
        let other = fault("a", 2, 1).expected("`forever`");
        let told = sorted(vec![
            fault("b", 2, 1),
            other,
            fault("a", 10, 1),
            fault("a", 2, 5),
            fault("a", 2, 1),
            fault("b", 2, 1),
        ]);
        let at: Vec<_> = told.iter().map(|f| (&*f.file, f.line, f.column)).collect();
        assert_eq!(at, [("a", 2, 1), ("a", 2, 5), ("a", 10, 1), ("b", 2, 1)]);
        assert_eq!(summary(&told), "4 faults in 2 files");
        assert_eq!(summary(&told[3..]), "1 fault in 1 file");
        assert_eq!(
            summary(&[fault("a", 1, 1), Fault::of_file(Fault::ENVIRONMENT, "x")]),
            "2 faults in 1 file and the environment"
        );
    }

    #[test]
    fn a_fault_is_json_too() {
        let json = serde_json::to_string(&fault("a", 1, 2).hint("h")).unwrap();
        assert_eq!(json, r#"{"file":"a","line":1,"column":2,"what":"unknown overflow `forevr`","hint":"h"}"#);
    }
}
