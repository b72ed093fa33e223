//! Channel names with variables in them: `user:{user.id}:alerts`.

use crate::model::{BadName, ChannelName, Identity, Problem, did_you_mean, one_of};
use serde_json::Value;
use std::fmt;

/// A name to be filled in: for `alias`, `home` and `also`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    text: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(Box<str>),
    /// A wildcard of the pattern by its place. `many`: `{*rest}`, which may bring segments of its own.
    Capture {
        at: usize,
        many: bool,
    },
    /// A claim by its dotted path; `id` is the user.
    User(Box<str>),
}

/// Why a template gave no name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unnamed {
    /// The user has no such claim, or it is no text, number or boolean.
    Missing(Box<str>),
    /// The claim would add segments of its own.
    Segments(Box<str>),
    Bad(BadName),
}

/// What a template may name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'c> {
    /// The pattern's wildcards in order, and whether the last is `{*rest}`.
    pub wildcards: &'c [Option<&'c str>],
    pub rest: bool,
    /// `home` and `also` belong to the channel, whoever asks: no `{user…}` there.
    pub user: bool,
}

impl Template {
    pub(super) fn compile(text: &str, path: &str, names: Names<'_>) -> Result<Template, Problem> {
        let (mut pieces, mut left) = (Vec::new(), text);
        while let Some(open) = left.find(['{', '}']) {
            let close = left[open..].find('}').map(|i| open + i);
            let (true, Some(close)) = (left.as_bytes()[open] == b'{', close) else {
                return Err(Problem::new(path, format!("a `{{` or `}}` stands alone in `{text}`")));
            };
            if open > 0 {
                pieces.push(Piece::Literal(left[..open].into()));
            }
            pieces.push(Piece::read(&left[open + 1..close], path, names)?);
            left = &left[close + 1..];
        }
        if !left.is_empty() {
            pieces.push(Piece::Literal(left.into()));
        }
        let template = Template { text: text.into(), pieces: pieces.into() };
        // A stand-in for each variable shows whether the literal parts can make a name at all.
        let sample: String = template.pieces.iter().map(|p| if let Piece::Literal(l) = p { l } else { "x" }).collect();
        match ChannelName::check(&sample) {
            Err(bad) => Err(Problem::new(path, format!("`{}` makes no channel name: {bad}", text.escape_debug()))),
            Ok(()) => Ok(template),
        }
    }

    /// A name that a connection is subscribed to by its endpoint: `vars` are those of the endpoint's path.
    pub fn for_endpoint(text: &str, path: &str, vars: &[&str]) -> Result<Template, Problem> {
        let wildcards: Vec<Option<&str>> = vars.iter().copied().map(Some).collect();
        Template::compile(text, path, Names { wildcards: &wildcards, rest: false, user: true })
    }

    /// Fills it in; `vars` as at `for_endpoint`, in the same order.
    pub fn name(&self, vars: &[&str], identity: &Identity) -> Result<ChannelName, Unnamed> {
        match vars.iter().find(|v| v.contains(':')) {
            Some(var) => Err(Unnamed::Segments((*var).into())),
            None => self.expand(vars, identity),
        }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name, where it holds no variables.
    pub(super) fn constant(&self) -> Option<ChannelName> {
        matches!(&self.pieces[..], [Piece::Literal(_)]).then(|| ChannelName::parse(&self.text).ok())?
    }

    pub(super) fn expand(&self, captures: &[&str], identity: &Identity) -> Result<ChannelName, Unnamed> {
        let mut name = String::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => name.push_str(text),
                Piece::Capture { at, many } => {
                    let value = captures.get(*at).copied().unwrap_or_default();
                    debug_assert!(*many || !value.contains(':'));
                    name.push_str(value);
                }
                Piece::User(path) => push_claim(&mut name, identity, path)?,
            }
        }
        ChannelName::parse(&name).map_err(Unnamed::Bad)
    }
}

fn push_claim(name: &mut String, identity: &Identity, path: &str) -> Result<(), Unnamed> {
    let start = name.len();
    match identity.claim(path) {
        _ if path == "id" => name.push_str(identity.user.as_deref().unwrap_or_default()),
        Some(Value::String(text)) => name.push_str(text),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => name.push_str(&value.to_string()),
        _ => {}
    }
    match &name[start..] {
        "" => Err(Unnamed::Missing(path.into())),
        // A user called `u1:admin` must not reach into `user:u1:admin`.
        value if value.contains(':') => Err(Unnamed::Segments(path.into())),
        _ => Ok(()),
    }
}

impl Piece {
    fn read(name: &str, path: &str, names: Names<'_>) -> Result<Piece, Problem> {
        if let Some(claim) = name.strip_prefix("user.").filter(|c| !c.split('.').any(str::is_empty)) {
            return match names.user {
                true => Ok(Piece::User(claim.into())),
                false => Err(Problem::new(path, format!("`{{{name}}}` differs from user to user"))
                    .expected("the pattern's own variables: this belongs to the channel, whoever asks")),
            };
        }
        if let Some(at) = names.wildcards.iter().position(|w| *w == Some(name)) {
            return Ok(Piece::Capture { at, many: names.rest && at + 1 == names.wildcards.len() });
        }
        let known: Vec<&str> =
            names.wildcards.iter().copied().flatten().chain(names.user.then_some("user.id")).collect();
        let problem =
            Problem::new(path, format!("unknown variable `{{{name}}}`")).hint(did_you_mean(name, known.clone()));
        Err(if known.is_empty() { problem } else { problem.expected(one_of(known)) })
    }
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Unnamed::Missing(path) => write!(f, "`user.{path}` is missing"),
            Unnamed::Segments(path) => write!(f, "`user.{path}` holds a `:`"),
            Unnamed::Bad(bad) => bad.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names { wildcards: &[Some("id"), Some("topic")], rest: true, user: true };

    fn user(id: &str) -> Identity {
        Identity { user: Some(id.into()), ..Identity::default() }
    }

    #[test]
    fn a_name_is_filled_in() {
        let template = Template::compile("user:{user.id}:{id}-x:{topic}", "alias", NAMES).unwrap();
        assert_eq!(template.expand(&["7", "a:b"], &user("u1")).unwrap().as_str(), "user:u1:7-x:a:b");
    }

    #[test]
    fn a_user_called_like_a_channel_stays_in_its_segment() {
        let template = Template::compile("user:{user.id}:alerts", "alias", NAMES).unwrap();
        assert_eq!(template.expand(&[], &user("u1:admin")), Err(Unnamed::Segments("id".into())));
        assert_eq!(template.expand(&[], &user("u\n1")), Err(Unnamed::Bad(BadName::ControlCharacter)));
        assert_eq!(template.expand(&[], &user("")), Err(Unnamed::Missing("id".into())));
        assert_eq!(template.expand(&[], &Identity::default()), Err(Unnamed::Missing("id".into())));
    }

    #[test]
    fn a_bad_template_is_a_problem() {
        for (bad, says) in [
            ("user:{ids}", "did you mean `id`?"),
            ("user:{usr.id}", "did you mean `user.id`?"),
            ("user:{id", "stands alone"),
            ("user:id}", "stands alone"),
            ("user::{id}", "no empty segment"),
            ("", "must not be empty"),
        ] {
            let problem = Template::compile(bad, "alias", NAMES).unwrap_err();
            assert!(format!("{problem:?}").contains(says), "{problem:?}");
        }
        let problem = Template::compile("{user.id}", "home", Names { user: false, ..NAMES }).unwrap_err();
        assert!(problem.what.contains("differs from user to user"));
    }
}
