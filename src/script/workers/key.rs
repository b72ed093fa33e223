//! Keys of entities with variables in them: `queue:{clinicId}`.

use crate::model::{Code, Problem, Refusal, did_you_mean, one_of};
use crate::script::Event;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A key to be filled in, such as `call:{data.callId}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityKey {
    text: Arc<str>,
    /// Without placeholders: the key itself.
    constant: bool,
    pieces: Box<[Piece]>,
    /// Its one placeholder is at the end: whatever it holds, two keys never become one.
    open: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(Box<str>),
    /// A variable of the pattern or path.
    Var(Box<str>),
    Channel,
    Connection,
    /// A claim by its dotted path; `id` is the user.
    User(Box<str>),
    /// Names from `event.data` inwards.
    Data(Box<[Box<str>]>),
}

impl EntityKey {
    /// One key, filled in. Beyond: refused, `invalid_message`.
    pub const BYTES_MAX: usize = 200;

    /// Reads a template; `vars` are those of the class's pattern or of the path, `path` is where it stands in the settings.
    pub fn compile(text: &str, vars: &[&str], path: &str) -> Result<EntityKey, Problem> {
        let wrong = |what: String| Problem::new(path, what);
        let kind = text.split(':').next().unwrap_or_default();
        if kind.is_empty() || kind.len() == text.len() || kind.contains(['{', '}']) {
            return Err(wrong(format!("`{}` does not begin with a kind", text.escape_debug()))
                .expected("a kind and `:`, such as `queue:{clinicId}`"));
        }
        if text.chars().any(char::is_control) {
            return Err(wrong(format!("a control character in `{}`", text.escape_debug())));
        }
        let (mut pieces, mut left) = (Vec::new(), text);
        while let Some(open) = left.find(['{', '}']) {
            let close = left[open..].find('}').map(|i| open + i);
            let (true, Some(close)) = (left.as_bytes()[open] == b'{', close) else {
                return Err(wrong(format!("a `{{` or `}}` stands alone in `{text}`")));
            };
            if open > 0 {
                pieces.push(Piece::Literal(left[..open].into()));
            }
            pieces.push(Piece::read(&left[open + 1..close], vars, path)?);
            left = &left[close + 1..];
        }
        if !left.is_empty() {
            pieces.push(Piece::Literal(left.into()));
        }
        let placeholders = pieces.iter().filter(|p| !matches!(p, Piece::Literal(_))).count();
        let open = placeholders == 1 && !matches!(pieces.last(), Some(Piece::Literal(_)));
        if pieces.contains(&Piece::Channel) && !open {
            return Err(wrong(format!("`{{channel}}` inside `{text}`: its name holds `:`, so keys could be confused"))
                .expected("`{channel}` alone and at the end, or variables of the pattern"));
        }
        if text.ends_with(':') {
            return Err(wrong(format!("nothing follows the last `:` of `{text}`")));
        }
        let literal: usize = pieces.iter().map(|p| if let Piece::Literal(text) = p { text.len() } else { 1 }).sum();
        if literal > Self::BYTES_MAX {
            return Err(wrong(format!("an entity's key of more than {} bytes", Self::BYTES_MAX)));
        }
        Ok(EntityKey { text: text.into(), constant: placeholders == 0, pieces: pieces.into(), open })
    }

    /// The text before the first `:`: which `[entity.NAME]` it is of.
    pub fn kind(&self) -> &str {
        kind_of(&self.text)
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills it in. Err: `invalid_message`, naming the part that is missing or cannot stand in a key.
    pub fn key(&self, event: &Event) -> Result<Arc<str>, Refusal> {
        if self.constant {
            return Ok(self.text.clone());
        }
        let mut key = String::with_capacity(64);
        for piece in &self.pieces {
            if let Piece::Literal(text) = piece {
                key.push_str(text);
                continue;
            }
            let value = piece.value(event).filter(|v| !v.is_empty());
            let value = value.ok_or_else(|| invalid(format!("`{piece}` is missing")))?;
            if value.contains(':') && !self.open {
                return Err(invalid(format!("`{piece}` holds a `:`")));
            }
            if value.chars().any(char::is_control) {
                return Err(invalid(format!("`{piece}` holds a control character")));
            }
            if key.len() + value.len() > Self::BYTES_MAX {
                return Err(invalid(format!("`{piece}` is too long")));
            }
            key.push_str(&value);
        }
        match key.len() > Self::BYTES_MAX {
            true => Err(invalid(format!("`{}` becomes too long", self.text))),
            false => Ok(key.into()),
        }
    }
}

/// The text before the first `:`.
pub(super) fn kind_of(key: &str) -> &str {
    key.split_once(':').map_or(key, |(kind, _)| kind)
}

fn invalid(why: String) -> Refusal {
    Refusal::because(Code::InvalidMessage, why)
}

impl Piece {
    fn read(name: &str, vars: &[&str], path: &str) -> Result<Piece, Problem> {
        let dotted = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.split('.').any(str::is_empty));
        if vars.contains(&name) {
            return Ok(Piece::Var(name.into()));
        }
        if let Some(claim) = dotted("user.") {
            return Ok(Piece::User(claim.into()));
        }
        if let Some(inside) = dotted("data.") {
            return Ok(Piece::Data(inside.split('.').map(Box::from).collect()));
        }
        match name {
            "channel" => Ok(Piece::Channel),
            "connection.id" => Ok(Piece::Connection),
            _ => {
                let known = vars.iter().copied().chain(["channel", "connection.id", "user.id"]);
                let hint = did_you_mean(name, known.clone());
                let expected = format!("{}, or a field such as `data.id`", one_of(known));
                Err(Problem::new(path, format!("unknown variable `{{{name}}}`")).expected(expected).hint(hint))
            }
        }
    }

    /// `None`: not there, or neither text nor number nor boolean.
    fn value<'e>(&self, event: &'e Event) -> Option<Cow<'e, str>> {
        match self {
            Piece::Literal(_) => None,
            Piece::Var(name) => event.vars.iter().find(|(n, _)| **n == **name).map(|(_, v)| Cow::Borrowed(&**v)),
            Piece::Channel => event.channel.as_ref().map(|c| Cow::Borrowed(c.as_str())),
            Piece::Connection => event.connection.as_ref().map(|c| Cow::Owned(c.id.to_string())),
            Piece::User(claim) if **claim == *"id" => event.identity.user.as_deref().map(Cow::Borrowed),
            Piece::User(claim) => match event.identity.claim(claim)? {
                Value::String(text) => Some(Cow::Borrowed(text)),
                value @ (Value::Number(_) | Value::Bool(_)) => Some(Cow::Owned(value.to_string())),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            },
            Piece::Data(path) => scalar(path.iter().try_fold(std::str::from_utf8(&event.data).ok()?, field)?),
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Piece::Literal(text) | Piece::Var(text) => f.write_str(text),
            Piece::Channel => f.write_str("channel"),
            Piece::Connection => f.write_str("connection.id"),
            Piece::User(claim) => write!(f, "user.{claim}"),
            Piece::Data(path) => write!(f, "data.{}", path.join(".")),
        }
    }
}

/// A text, number or boolean as it stands in a key.
fn scalar(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => match &json[1..json.len() - 1] {
            plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
            _ => serde_json::from_str(json).ok().map(Cow::Owned),
        },
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}

/// The value of a field, as text. Of a doubled key the last, as everywhere.
#[allow(clippy::borrowed_box)] // as `try_fold` hands it over
fn field<'a>(json: &'a str, name: &Box<str>) -> Option<&'a str> {
    serde_json::Deserializer::from_str(json).deserialize_map(Field(name)).ok()?
}

struct Field<'n>(&'n str);

impl<'a> Visitor<'a> for Field<'_> {
    type Value = Option<&'a str>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Option<&'a str>, M::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            match is_it {
                true => found = Some(map.next_value::<&'a RawValue>()?.get()),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

struct Is<'n>(&'n str);

impl<'a> DeserializeSeed<'a> for Is<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'a>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, Identity};
    use crate::script::Trigger;
    use serde_json::json;

    fn event(data: &str) -> Event {
        let claims = json!({"id": "u1", "clinicId": 7, "org": {"id": "o1"}, "tags": ["a"]});
        let Value::Object(claims) = claims else { panic!("a map") };
        Event {
            trigger: Trigger::Subscribe,
            data: data.to_string().into(),
            identity: Arc::new(Identity::described(claims)),
            connection: None,
            asker: None,
            channel: ChannelName::parse("clinic:c1:queue").ok(),
            vars: vec![("clinicId".into(), "c1".into())],
            at: crate::model::Now::default(),
        }
    }

    fn key(template: &str, data: &str) -> Result<String, String> {
        let key = EntityKey::compile(template, &["clinicId"], "entity").unwrap().key(&event(data));
        key.map(|k| k.to_string()).map_err(|r| {
            assert_eq!(r.code, Code::InvalidMessage);
            r.message.unwrap().into_owned()
        })
    }

    #[test]
    fn a_key_is_filled_in() {
        for (template, becomes) in [
            ("queue:{clinicId}", "queue:c1"),
            ("queue:all", "queue:all"),
            ("room:{channel}", "room:clinic:c1:queue"),
            ("user:{user.id}:{user.clinicId}-{user.org.id}", "user:u1:7-o1"),
            ("call:{data.call.id}", "call:a:\"b\""),
            ("n:{data.n}:{data.yes}", "n:1.50:true"),
        ] {
            let data = r#"{"n":1.50,"call":{"id":"old"},"skip":[{"call":1}],"call":{"id":"a:\"b\""},"yes":true}"#;
            assert_eq!(key(template, data).as_deref(), Ok(becomes), "{template}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (template, data, says) in [
            ("call:{data.callId}", "{}", "`data.callId` is missing"),
            ("call:{data.callId}", "", "`data.callId` is missing"),
            ("call:{data.callId}", r#"{"callId":""}"#, "`data.callId` is missing"),
            ("call:{data.callId}", r#"{"callId":{"a":1}}"#, "`data.callId` is missing"),
            ("call:{data.callId}", r#"{"callId":null}"#, "`data.callId` is missing"),
            ("call:{data.a.b}", r#"{"a":"b"}"#, "`data.a.b` is missing"),
            ("call:{data.a.b}", "[1,2", "`data.a.b` is missing"),
            ("x:{user.tags}", "{}", "`user.tags` is missing"),
            ("x:{connection.id}", "{}", "`connection.id` is missing"),
        ] {
            assert_eq!(key(template, data).unwrap_err(), says, "{template} {data}");
        }
    }

    #[test]
    fn two_keys_never_become_one() {
        let two = r#"{"a":"x:y","b":"z"}"#;
        assert_eq!(key("pair:{data.a}:{data.b}", two).unwrap_err(), "`data.a` holds a `:`");
        assert_eq!(key("pair:{data.a}:end", two).unwrap_err(), "`data.a` holds a `:`");
        assert_eq!(key("one:{data.a}", two).unwrap(), "one:x:y");
        assert_eq!(key("one:{data.a}", r#"{"a":"x\ny"}"#).unwrap_err(), "`data.a` holds a control character");
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(200));
        assert_eq!(key("one:{data.a}", &long).unwrap_err(), "`data.a` is too long");
    }

    #[test]
    fn a_bad_template_is_a_problem() {
        for (bad, says) in [
            ("queue", "does not begin with a kind"),
            ("{clinicId}:queue", "does not begin with a kind"),
            (":queue", "does not begin with a kind"),
            ("queue:", "nothing follows"),
            ("queue:{clinicid}", "did you mean `clinicId`?"),
            ("queue:{user}", "unknown variable `{user}`"),
            ("queue:{data.}", "unknown variable `{data.}`"),
            ("queue:{clinicId", "stands alone"),
            ("queue:clinicId}", "stands alone"),
            ("queue:{channel}:{user.id}", "could be confused"),
            ("queue:\n", "a control character"),
        ] {
            let problem = EntityKey::compile(bad, &["clinicId"], "class.entity").unwrap_err();
            assert!(format!("{problem:?}").contains(says), "{bad}: {problem:?}");
            assert_eq!(problem.path, "class.entity");
        }
    }
}
