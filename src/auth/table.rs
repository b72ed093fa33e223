//! Tables: rows by key that an app looks up, from its file, a JSON file or an HTTP source.

use super::Resolve;
use super::fetch::Fetcher;
use super::remote::Remote;
use super::settings::TableSettings;
use crate::model::{Mono, Ms, Problem, is_exact};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Columns by name.
pub type Row = Map<String, Value>;

/// What is known of a row without asking its source.
#[derive(Clone, PartialEq, Debug)]
pub enum Lookup {
    Row(Arc<Row>),
    /// There is none.
    Absent,
    /// Nothing is known; `Table::row` asks.
    Unknown,
}

/// The source of a table does not answer, and no row of before may still be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unavailable {
    pub(super) table: Arc<str>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "table `{}` is not available", self.table)
    }
}

/// The tables of an app by name.
#[derive(Clone, Debug, Default)]
pub struct Tables(BTreeMap<String, Arc<Table>>);

impl Tables {
    /// `read` hands over the bytes of a `file`. Rows that were fetched are taken over from `previous` where settings are
    /// the same. Paths of problems: `NAME.url`.
    pub fn compile(
        settings: &BTreeMap<String, TableSettings>,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
        resolve: Resolve<'_>,
        fetcher: &Fetcher,
        previous: Option<&Tables>,
    ) -> Result<Tables, Vec<Problem>> {
        let (mut tables, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, s) in settings {
            let before = previous.and_then(|p| p.get(name));
            let table = match (&s.rows, &s.file, &s.url) {
                (Some(rows), None, None) => Table::from_rows(name, rows),
                (None, Some(file), None) => {
                    let bytes = read(file).map_err(|why| Problem::new("file", why));
                    bytes.and_then(|bytes| Table::from_json(name, &bytes).map_err(|p| p.in_file(file)))
                }
                (None, None, Some(url)) => {
                    let before = before.and_then(|b| b.remote());
                    Remote::compile(name, url, s, resolve, fetcher, before).map(|r| Table::new(name, Rows::Remote(r)))
                }
                _ => Err(Problem::new("", "a table from nowhere, or from several places")
                    .expected("exactly one of `rows`, `file` and `url`")),
            };
            match table {
                Ok(table) => drop(tables.insert(name.clone(), Arc::new(table.after(before)))),
                Err(mut p) => {
                    p.path = format!("{name}{}{}", if p.path.is_empty() { "" } else { "." }, p.path);
                    problems.push(p);
                }
            }
        }
        if problems.is_empty() { Ok(Tables(tables)) } else { Err(problems) }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Table>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Why rows may be missing now, by table.
    pub fn troubles(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.values().filter_map(|table| Some((table.name(), table.remote()?.trouble()?)))
    }

    /// Rises when any row that was handed out has changed.
    pub fn version(&self) -> u64 {
        self.0.values().map(|t| t.version()).sum()
    }

    /// After how long the first of the rows behind URLs is too old. `None`: all rows are here.
    pub fn shortest_ttl(&self) -> Option<Ms> {
        self.0.values().filter_map(|table| Some(table.remote()?.ttl())).min()
    }

    /// Whether a row was not asked for since the last call, because too many were asked for at once.
    pub fn take_unasked(&self) -> bool {
        self.0.values().filter_map(|table| table.remote()).any(Remote::take_unasked)
    }
}

/// One `[table.NAME]`. Prints without its rows.
pub struct Table {
    name: Arc<str>,
    rows: Rows,
    /// Of a table whose rows are all here: raised by a reload that changes one.
    version: u64,
}

enum Rows {
    Here { rows: HashMap<String, Arc<Row>>, first: Option<String> },
    Remote(Remote),
}

impl Table {
    fn new(name: &str, rows: Rows) -> Table {
        Table { name: name.into(), rows, version: 0 }
    }

    /// From a JSON object of rows by key. The problem's path is `file`, its offset the place in the text.
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Table, Problem> {
        // Editors of another system begin a file with a byte order mark, which is no JSON.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let rows = json.deserialize_map(Entries).and_then(|rows| json.end().map(|()| rows));
        let rows = rows.map_err(|e| {
            // serde_json's message ends with the place, which is told apart from it here.
            let text = e.to_string();
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            Problem::new("file", format!("not a table: {what}"))
                .at(e.line() as u32, column(bytes, e.line(), e.column()))
                .expected("a JSON object of rows by key, such as {\"u1\": {\"role\": \"admin\"}}")
        })?;
        Ok(Table::here(name, rows))
    }

    /// From rows in an app's own file; the problem's path is `rows.KEY`.
    pub fn from_rows(name: &str, rows: &Map<String, Value>) -> Result<Table, Problem> {
        let rows = rows.iter().map(|(key, row)| match row {
            Value::Object(row) => match rounded(row) {
                Some(column) => Err(Problem::new(format!("rows.{key}.{column}"), ROUNDED).expected("a text")),
                None => Ok((key.clone(), row.clone())),
            },
            _ => Err(Problem::new(format!("rows.{key}"), "not a row").expected("a table of columns")),
        });
        Ok(Table::here(name, rows.collect::<Result<_, _>>()?))
    }

    fn here(name: &str, rows: Vec<(String, Row)>) -> Table {
        let first = rows.first().map(|(key, _)| key.clone());
        let rows = rows.into_iter().map(|(key, row)| (key, Arc::new(row))).collect();
        Table::new(name, Rows::Here { rows, first })
    }

    /// Continues the version of the table that this one replaces.
    fn after(mut self, before: Option<&Arc<Table>>) -> Table {
        if let Some(before) = before {
            let same = match (&self.rows, &before.rows) {
                (Rows::Here { rows, .. }, Rows::Here { rows: old, .. }) => rows == old,
                (Rows::Remote(new), Rows::Remote(old)) => new.is_same(old),
                (Rows::Here { .. }, Rows::Remote(_)) | (Rows::Remote(_), Rows::Here { .. }) => false,
            };
            // Where the cache is shared, its own part of the version goes on by itself.
            self.version = if same { before.version } else { before.version() + 1 };
        }
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rises when a row that was handed out has changed: decisions made with it may be others now.
    pub fn version(&self) -> u64 {
        match &self.rows {
            Rows::Here { .. } => self.version,
            Rows::Remote(remote) => self.version + remote.version(),
        }
    }

    /// The row of `key`, asked for at its source where what is known is too old. `None`: there is none.
    pub async fn row(&self, key: &str, now: Mono) -> Result<Option<Arc<Row>>, Unavailable> {
        match &self.rows {
            Rows::Here { rows, .. } => Ok(rows.get(key).cloned()),
            Rows::Remote(remote) => remote.row(key, now).await,
        }
    }

    /// What is known of the row now, without waiting; for rules.
    pub fn cached(&self, key: &str, now: Mono) -> Lookup {
        match &self.rows {
            Rows::Here { rows, .. } => rows.get(key).map_or(Lookup::Absent, |row| Lookup::Row(row.clone())),
            Rows::Remote(remote) => remote.cached(key, now),
        }
    }

    /// Asks the source for a row that is unknown or too old, without waiting: `cached` and `version` tell when it came.
    pub fn prepare(&self, key: &str, now: Mono) {
        if let Rows::Remote(remote) = &self.rows {
            remote.prepare(key, now);
        }
    }

    /// The first key as written, of a table whose rows are all here.
    pub fn first_key(&self) -> Option<&str> {
        match &self.rows {
            Rows::Here { first, .. } => first.as_deref(),
            Rows::Remote(_) => None,
        }
    }

    fn remote(&self) -> Option<&Remote> {
        match &self.rows {
            Rows::Remote(remote) => Some(remote),
            Rows::Here { .. } => None,
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Table({})", self.name)
    }
}

const ROUNDED: &str = "a number of more than 64 bits, which would be rounded";

/// A column whose number is not what was written: rules would take two ids for one.
pub(super) fn rounded(row: &Row) -> Option<&str> {
    row.iter().find(|(_, value)| !is_exact(value)).map(|(column, _)| column.as_str())
}

/// serde_json counts bytes; people count characters.
fn column(bytes: &[u8], line: usize, column: usize) -> u32 {
    let line = bytes.split(|b| *b == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let before = &line[..column.min(line.len())];
    String::from_utf8_lossy(before).chars().count().max(1) as u32
}

/// Reads rows in their order and refuses a key that comes twice: one of the two would be lost without a word.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Row)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of rows by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<(String, Row)>, A::Error> {
        let (mut rows, mut seen) = (Vec::new(), std::collections::HashSet::new());
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("key `{key}` comes twice")));
            }
            let row = map.next_value::<Row>()?;
            if let Some(column) = rounded(&row) {
                return Err(A::Error::custom(format!("`{column}` of `{key}` is {ROUNDED}; a text would keep it")));
            }
            rows.push((key, row));
        }
        Ok(rows)
    }
}
