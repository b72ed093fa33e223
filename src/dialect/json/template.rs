//! Templates: values with placeholders, compiled once to literal bytes and slots.
//! What a placeholder may be is the caller's: `P` is what its names resolve to.

use crate::model::Problem;
use serde::Serialize;
use serde_json::Value;

/// A compiled template. One without placeholders is one copy.
#[derive(Clone, Debug)]
pub struct Template<P> {
    parts: Box<[Part<P>]>,
}

#[derive(Clone, Debug)]
enum Part<P> {
    Literal(Box<str>),
    /// A whole value; `null` where it is missing.
    Value(P),
    /// Inside a text; nothing where it is missing.
    Text(P),
    /// `"key":`, the value and a comma; nothing where the value is missing.
    Member(Box<str>, P),
    /// An object's end after a `Member`: takes the place of its comma.
    Close,
}

impl<P> Template<P> {
    /// Compiles `value`, which stands at `path`. `place` resolves a placeholder's name; the path of its `Problem` is filled in here.
    pub fn compile(
        value: &Value,
        path: &str,
        place: &dyn Fn(&str) -> Result<P, Problem>,
        problems: &mut Vec<Problem>,
    ) -> Template<P> {
        let mut builder = Builder { parts: Vec::new(), literal: String::new(), path: path.to_owned(), place, problems };
        builder.value(value);
        builder.flush();
        Template { parts: builder.parts.into() }
    }

    /// Appends the JSON text. `value` appends a placeholder's JSON value, or says `false` where there is none.
    pub fn render(&self, out: &mut Vec<u8>, mut value: impl FnMut(&P, &mut Vec<u8>) -> bool) {
        for part in &self.parts {
            let start = out.len();
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(place) => {
                    if !value(place, out) {
                        out.truncate(start);
                        out.extend_from_slice(b"null");
                    }
                }
                Part::Text(place) => match value(place, out) {
                    true => into_text(start, out),
                    false => out.truncate(start),
                },
                Part::Member(key, place) => {
                    out.extend_from_slice(key.as_bytes());
                    match value(place, out) {
                        true => out.push(b','),
                        false => out.truncate(start),
                    }
                }
                Part::Close => match out.last_mut() {
                    Some(last) if *last == b',' => *last = b'}',
                    _ => out.push(b'}'),
                },
            }
        }
    }

    /// The placeholders in it.
    pub fn places(&self) -> impl Iterator<Item = &P> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(place) | Part::Text(place) | Part::Member(_, place) => Some(place),
            Part::Literal(_) | Part::Close => None,
        })
    }
}

/// Appends a value's JSON text; `true`, so that it can end a `value` function of `Template::render`.
pub fn put<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> bool {
    serde_json::to_writer(&mut *out, value).is_ok()
}

/// Makes the JSON value from `start` on the inside of a JSON text.
fn into_text(start: usize, out: &mut Vec<u8>) {
    match out.get(start) {
        // A string is escaped already: only its quotes go.
        Some(b'"') => {
            out.pop();
            out.remove(start);
        }
        Some(b'{' | b'[') => {
            let json = out.split_off(start);
            out.extend_from_slice(escaped(&String::from_utf8_lossy(&json)).as_bytes());
        }
        _ => {}
    }
}

fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

enum Piece<P> {
    Text(String),
    Place(P),
}

struct Builder<'p, P> {
    parts: Vec<Part<P>>,
    literal: String,
    path: String,
    place: &'p dyn Fn(&str) -> Result<P, Problem>,
    problems: &'p mut Vec<Problem>,
}

impl<P> Builder<'_, P> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.literal.push_str(&value.to_string()),
            Value::String(text) => {
                if let Some(place) = self.text(text) {
                    self.part(Part::Value(place));
                }
            }
            Value::Array(items) => {
                self.literal.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.literal.push(',');
                    }
                    self.below(&format!("[{i}]"), |b| b.value(item));
                }
                self.literal.push(']');
            }
            Value::Object(members) => {
                self.literal.push('{');
                for (i, (key, member)) in members.iter().enumerate() {
                    self.below(&format!(".{key}"), |b| b.member(key, member, i + 1 == members.len()));
                }
                if members.is_empty() {
                    self.literal.push('}');
                }
            }
        }
    }

    fn member(&mut self, key: &str, value: &Value, last: bool) {
        let (before, key) = (self.literal.len(), format!("\"{}\":", escaped(key)));
        self.literal.push_str(&key);
        let place = match value {
            Value::String(text) => self.text(text),
            _ => {
                self.value(value);
                None
            }
        };
        match place {
            // The key goes with its value, so it is no literal.
            Some(place) => {
                self.literal.truncate(before);
                self.part(Part::Member(key.into(), place));
                if last {
                    self.part(Part::Close);
                }
            }
            None => self.literal.push(if last { '}' } else { ',' }),
        }
    }

    /// A text that is nothing but a placeholder is handed back; any other is written here.
    fn text(&mut self, text: &str) -> Option<P> {
        let mut pieces = self.pieces(text);
        if matches!(pieces[..], [Piece::Place(_)])
            && let Some(Piece::Place(place)) = pieces.pop()
        {
            return Some(place);
        }
        self.literal.push('"');
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.literal.push_str(&escaped(&text)),
                Piece::Place(place) => self.part(Part::Text(place)),
            }
        }
        self.literal.push('"');
        None
    }

    fn pieces(&mut self, text: &str) -> Vec<Piece<P>> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            let after = &rest[at + 1..];
            if brace == "}" || after.starts_with('{') {
                plain.push_str(brace);
                rest = after.strip_prefix(brace).unwrap_or(after);
                continue;
            }
            let Some(end) = after.find('}') else {
                self.problem(Problem::new("", "a `{` without its `}`").expected("`{{` for a brace itself"));
                return pieces;
            };
            match (self.place)(&after[..end]) {
                Ok(place) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Place(place));
                }
                Err(problem) => self.problem(problem),
            }
            rest = &after[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        pieces
    }

    fn part(&mut self, part: Part<P>) {
        self.flush();
        self.parts.push(part);
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Literal(std::mem::take(&mut self.literal).into()));
        }
    }

    fn below(&mut self, step: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        work(self);
        self.path.truncate(length);
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(Problem { path: self.path.clone(), ..problem });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Places are names; `a` is 1, `s` a text, `o` an object, `none` is missing.
    fn render(template: Value) -> String {
        let mut problems = Vec::new();
        let template = Template::compile(&template, "send.hello", &|name| Ok(name.to_owned()), &mut problems);
        assert_eq!(problems, []);
        let mut out = b"before,".to_vec();
        template.render(&mut out, |name, out| match name.as_str() {
            "a" => put(&1, out),
            "s" => put("say \"hi\"", out),
            "o" => put(&json!({"k": "v"}), out),
            _ => false,
        });
        let text = String::from_utf8(out).unwrap().strip_prefix("before,").unwrap().to_owned();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        text
    }

    #[test]
    fn a_placeholder_alone_becomes_the_value_and_in_a_text_its_text() {
        assert_eq!(render(json!({"n": "{a}", "o": "{o}", "s": "{s}"})), r#"{"n":1,"o":{"k":"v"},"s":"say \"hi\""}"#);
        assert_eq!(render(json!("{a} and {s}: {o}")), r#""1 and say \"hi\": {\"k\":\"v\"}""#);
        assert_eq!(render(json!({"plain": [1, true, null, {}]})), r#"{"plain":[1,true,null,{}]}"#);
    }

    #[test]
    fn a_missing_value_drops_its_key() {
        assert_eq!(render(json!({"x": "{none}"})), "{}");
        assert_eq!(render(json!({"x": "{none}", "y": 1})), r#"{"y":1}"#);
        assert_eq!(render(json!({"y": 1, "x": "{none}"})), r#"{"y":1}"#);
        assert_eq!(
            render(json!({"y": {"x": "{none}", "z": "{a}", "w": "{none}"}, "l": "{a}"})),
            r#"{"y":{"z":1},"l":1}"#
        );
        assert_eq!(render(json!(["{none}", "[{none}]"])), r#"[null,"[]"]"#);
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(render(json!("{{a}} } {{{a}}}")), r#""{a} } {1}""#);
        assert_eq!(render(json!({"{k}\"": "v"})), r#"{"{k}\"":"v"}"#);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let mut problems = Vec::new();
        let template = json!({"data": {"list": [1, "{bad}"], "open": "{a", "fine": "{a}"}});
        let place = |name: &str| if name == "a" { Ok(()) } else { Err(Problem::new("", format!("unknown `{name}`"))) };
        Template::compile(&template, "send.hello", &place, &mut problems);
        let told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), p.what.as_str())).collect();
        assert_eq!(
            told,
            [("send.hello.data.list[1]", "unknown `bad`"), ("send.hello.data.open", "a `{` without its `}`")]
        );
    }
}
