//! One TOML file as a tree in which everything knows where it was written.
//!
//! A value that the environment sets carries the variable's name instead of a position, so that whatever is wrong
//! with it later is told about the variable.

use crate::model::{Fault, NamedFile, Problem};
use std::path::Path;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// One file, read.
#[derive(Clone, Debug)]
pub struct Doc {
    /// As faults name it.
    pub file: Arc<str>,
    text: Arc<str>,
    /// Byte offset of each line's start.
    lines: Vec<usize>,
    pub root: Node,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: At,
    pub value: Value,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    /// Bytes from and to in the file's text.
    File(usize, usize),
    /// An environment variable's name.
    Env(Arc<str>),
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

/// A key, where it was written, and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub at: At,
    pub node: Node,
}

/// Tables within tables, as far as anybody can read them.
const DEPTH_MAX: usize = 64;
/// Syntax errors told of one file; what follows is mostly their echo.
const SYNTAX_FAULTS_MAX: usize = 20;

impl Doc {
    /// Reads a file's text; every syntax error is a fault. The tree is there in any case, as far as it was understood.
    pub fn parse(file: &str, text: &str, faults: &mut Vec<Fault>) -> Doc {
        let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|i| i + 1)).collect();
        let root = Node { at: At::File(0, 0), value: Value::Table(Vec::new()) };
        let mut doc = Doc { file: file.into(), text: text.into(), lines, root };
        let (table, errors) = DeTable::parse_recoverable(text);
        faults.extend(errors.iter().take(SYNTAX_FAULTS_MAX).map(|e| doc.syntax(e)));
        let mut bad = Vec::new();
        doc.root.value = convert_table(table.into_inner(), 0, &mut bad);
        if errors.is_empty() {
            faults.extend(bad.into_iter().map(|(at, what)| doc.fault(&at, what)));
        }
        doc
    }

    fn syntax(&self, error: &toml::de::Error) -> Fault {
        let span = error.span().unwrap_or(0..0);
        let (what, expected) = match error.message().split_once(", expected ") {
            Some((what, expected)) => (what, Some(expected.to_owned()).filter(|e| e != "nothing")),
            None => (error.message(), None),
        };
        let what = match (what, self.text.get(span.clone())) {
            ("duplicate key", Some(key)) => format!("`{key}` is written twice"),
            _ => what.to_owned(),
        };
        let fault = self.fault(&At::File(span.start, span.end), what);
        let hint = self.unquoted(fault.line).map(|v| format!("a text stands in quotes: \"{v}\""));
        Fault { expected, hint, ..fault }
    }

    /// The value of a line such as `address = 127.0.0.1:3000`, which lacks its quotes.
    fn unquoted(&self, line: u32) -> Option<&str> {
        let line = self.text.lines().nth(line as usize - 1)?;
        let value = line.split_once('=')?.1.split('#').next()?.trim();
        let plain = !value.is_empty() && !value.contains(['"', '\'', '[', ']', '{', '}', ',', '=']);
        (plain && value.contains(|c: char| c.is_ascii_alphabetic() || c == ':' || c == '.')).then_some(value)
    }

    /// Line and column (in characters), 1-based.
    pub fn position(&self, byte: usize) -> (u32, u32) {
        let byte = (0..=byte.min(self.text.len())).rev().find(|b| self.text.is_char_boundary(*b)).unwrap_or(0);
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let column = self.text[self.lines[line - 1]..byte].chars().count() + 1;
        (line as u32, column as u32)
    }

    /// A fault at a place of this file, or about the variable that put the value there.
    pub fn fault(&self, at: &At, what: impl Into<String>) -> Fault {
        match at {
            At::File(start, _) => {
                let (line, column) = self.position(*start);
                Fault { line, column, ..Fault::of_file(&self.file, what) }
            }
            At::Env(name) => Fault::of_file(Fault::ENVIRONMENT, format!("{name}: {}", what.into())),
        }
    }

    /// What a room found wrong, with its place in this file: the value, or the nearest thing above it that is there.
    pub fn locate(&self, problem: &Problem) -> Fault {
        let at = self.root.nearest(&problem.path);
        let mut fault = self.fault(at, &problem.what);
        if let Some(NamedFile(name)) = problem.file.as_deref() {
            // Relative to the file that names it, as everything that is named is.
            let folder = Path::new(&*self.file).parent().unwrap_or(Path::new(""));
            fault.file = folder.join(name).display().to_string().into();
            (fault.line, fault.column) = problem.offset.unwrap_or_default();
            (fault.expected, fault.hint) = (problem.expected.clone(), problem.hint.clone());
            return fault;
        }
        if let (Some((line, column)), At::File(start, end)) = (problem.offset, at)
            && let Some(raw) = self.text.get(*start..*end)
        {
            (fault.line, fault.column) = self.inside(*start, raw, line, column);
        }
        fault.expected = problem.expected.clone().filter(|e| !e.is_empty());
        fault.hint = problem.hint.clone();
        fault
    }

    /// Line and column of a place inside a string, given by its line and column in the string's value.
    fn inside(&self, start: usize, raw: &str, line: u32, column: u32) -> (u32, u32) {
        let (at_line, at_column) = self.position(start);
        let multi = raw.starts_with("'''") || raw.starts_with("\"\"\"");
        let trimmed = multi && (raw[3..].starts_with('\n') || raw[3..].starts_with("\r\n"));
        let quotes = if multi { 3 } else { 1 };
        match (line, trimmed) {
            (1, false) => (at_line, at_column + quotes + column - 1),
            (_, false) => (at_line + line - 1, column),
            (_, true) => (at_line + line, column),
        }
    }
}

/// A description for reading: what kind of value this is.
impl Value {
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(true) => "`true`",
            Value::Boolean(false) => "`false`",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl Node {
    pub fn table(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.table()?.iter().find(|e| e.name == name)
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|e| &e.node)
    }

    /// Puts a value at a path of keys; tables on the way are made. `false`: something on the way is no table.
    pub fn set(&mut self, path: &[&str], node: Node) -> bool {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return true;
        };
        let Value::Table(entries) = &mut self.value else { return false };
        let found = entries.iter().position(|e| e.name == *first).unwrap_or_else(|| {
            let empty = Node { at: node.at.clone(), value: Value::Table(Vec::new()) };
            entries.push(Entry { name: (*first).to_owned(), at: node.at.clone(), node: empty });
            entries.len() - 1
        });
        entries[found].node.set(rest, node)
    }

    /// Where the value at a path such as `channel[3].subscribe` was written; of the path's longest part that exists.
    /// A key that holds dots may be quoted or not: `need."body.id"`, `need.body.id`.
    pub fn nearest(&self, path: &str) -> &At {
        let mut best = (0, &self.at);
        self.walk(path, 0, None, &mut best);
        best.1
    }

    fn walk<'n>(&'n self, rest: &str, depth: usize, key: Option<&'n At>, best: &mut (usize, &'n At)) {
        // A table is best shown by its key: its own span may be only a header's bracket.
        let at = match (&self.value, key) {
            (Value::Table(_), Some(key)) => key,
            _ => &self.at,
        };
        if depth >= best.0 {
            *best = (depth, at);
        }
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        match &self.value {
            Value::Array(items) => {
                let Some((index, tail)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) else { return };
                let Some(item) = index.parse::<usize>().ok().and_then(|i| items.get(i)) else { return };
                item.walk(tail, depth + 1, None, best);
            }
            Value::Table(entries) => {
                for entry in entries {
                    let quoted = format!("\"{}\"", entry.name);
                    let Some(tail) = rest.strip_prefix(&quoted).or_else(|| rest.strip_prefix(&entry.name)) else {
                        continue;
                    };
                    if tail.is_empty() || tail.starts_with(['.', '[']) {
                        entry.node.walk(tail, depth + 1, Some(&entry.at), best);
                    }
                }
            }
            _ => {}
        }
    }
}

type Bad = Vec<(At, String)>;

fn convert_table(table: DeTable<'_>, depth: usize, bad: &mut Bad) -> Value {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let at = At::File(key.span().start, key.span().end);
            Entry { name: key.into_inner().into_owned(), at, node: convert(value, depth + 1, bad) }
        })
        .collect();
    entries.sort_by_key(|e| match e.at {
        At::File(start, _) => start,
        At::Env(_) => usize::MAX,
    });
    Value::Table(entries)
}

fn convert(value: toml::Spanned<DeValue<'_>>, depth: usize, bad: &mut Bad) -> Node {
    let at = At::File(value.span().start, value.span().end);
    let mut unreadable = |what: String| {
        bad.push((at.clone(), what));
        Value::Integer(0)
    };
    let value = match value.into_inner() {
        _ if depth > DEPTH_MAX => unreadable(format!("more than {DEPTH_MAX} tables within each other")),
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Value::Integer(n),
            Err(_) => unreadable(format!("the number {n} is too large")),
        },
        DeValue::Float(n) => match n.as_str().parse::<f64>() {
            Ok(n) if n.is_finite() => Value::Float(n),
            _ => unreadable(format!("the number {n} has no place in settings")),
        },
        DeValue::Boolean(b) => Value::Boolean(b),
        DeValue::Datetime(t) => Value::Text(t.to_string()),
        DeValue::Array(items) => Value::Array(items.into_iter().map(|i| convert(i, depth + 1, bad)).collect()),
        DeValue::Table(table) => convert_table(table, depth, bad),
    };
    Node { at, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# é\nmode = \"development\"\n\n[limits]\nmessages = { burst = 5, per = \"1s\" }\n\n\
        [[channel]]\nname = \"é\" # \n\n[[channel]]\nname = \"b\"\nsubscribe = '''\n  user.id == id\n  || tru'''\n\
        need = { \"body.id\" = \"string\" }\nreceive.ping = { do = \"ping\" }\n";

    fn at(path: &str) -> (u32, u32) {
        let mut faults = Vec::new();
        let doc = Doc::parse("x.toml", TEXT, &mut faults);
        assert_eq!(faults, []);
        let fault = doc.locate(&Problem::new(path, ""));
        (fault.line, fault.column)
    }

    #[test]
    fn a_path_is_found_where_it_was_written() {
        assert_eq!(at("mode"), (2, 8));
        assert_eq!(at("limits.messages.per"), (5, 31));
        assert_eq!(at("limits"), (4, 2));
        assert_eq!(at("channel[0].name"), (8, 8));
        assert_eq!(at("channel[1].name"), (11, 8));
        assert_eq!(at("channel[1].need.body.id"), (15, 22));
        assert_eq!(at("channel[1].need.\"body.id\""), (15, 22));
        assert_eq!(at("channel[1].receive.ping.do"), (16, 23));
    }

    #[test]
    fn what_is_missing_is_shown_at_what_should_hold_it() {
        assert_eq!(at("limits.messages.sub"), (5, 1));
        assert_eq!(at("limits.nothing.at.all"), (4, 2));
        assert_eq!(at("channel[1].handler"), (10, 1));
        assert_eq!(at("nothing"), (1, 1));
    }

    #[test]
    fn a_place_inside_a_text_is_found() {
        let doc = Doc::parse("x.toml", TEXT, &mut Vec::new());
        let fault = doc.locate(&Problem::new("channel[1].subscribe", "").at(2, 6));
        assert_eq!((fault.line, fault.column), (14, 6));
        let fault = doc.locate(&Problem::new("mode", "").at(1, 3));
        assert_eq!((fault.line, fault.column), (2, 11));
    }

    #[test]
    fn several_syntax_errors_are_told_at_once() {
        let mut faults = Vec::new();
        Doc::parse("x.toml", "a = \nb = 1\nb = 2\nc = \"open\nd = 127.0.0.1:80 # x\n", &mut faults);
        let told: Vec<_> = faults.iter().map(|f| f.to_string()).collect();
        assert!(faults.len() >= 4, "{told:#?}");
        assert!(told.contains(&"x.toml:3:1: `b` is written twice".to_owned()), "{told:#?}");
        assert!(told[told.len() - 1].ends_with("hint: a text stands in quotes: \"127.0.0.1:80\""), "{told:#?}");
        faults.clear();
        Doc::parse("x.toml", "a = 99999999999999999999\nb = nan", &mut faults);
        assert!(faults.len() == 2 && faults[0].what.contains("too large"), "{faults:#?}");
    }

    #[test]
    fn depth_is_bounded() {
        let mut faults = Vec::new();
        let deep = format!("[{}a]\n{}b = {}1{}", "a.".repeat(60), "b.".repeat(60), "{c=".repeat(50), "}".repeat(50));
        Doc::parse("x.toml", &deep, &mut faults);
        assert!(!faults.is_empty());
    }
}
