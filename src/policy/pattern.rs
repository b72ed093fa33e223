//! Patterns of channel names: whole `:`-separated segments.

use crate::model::{ChannelName, Problem};
use smallvec::SmallVec;

/// One segment of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// `{name}`, or `*` without a name.
    One(Option<Box<str>>),
    /// `{*name}`: all that remain, at least one.
    Rest(Box<str>),
}

/// `clinic:{clinicId}:queue`, `reports:{*topic}`, `system:*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    text: Box<str>,
    pub(super) segments: Box<[Segment]>,
}

/// What a name's wildcards stood for, in their order.
pub(super) type Captures<'n> = SmallVec<[&'n str; 4]>;

/// Names that rules already have.
const TAKEN: [&str; 5] = ["user", "request", "tables", "now", "data"];

impl Pattern {
    /// Reads a pattern; `path` is where it stands in the settings.
    pub fn compile(text: &str, path: &str) -> Result<Pattern, Problem> {
        let wrong = |what: String| Problem::new(path, what);
        if let Err(bad) = ChannelName::check(text) {
            return Err(wrong(format!("`{}` is no pattern: {bad}", text.escape_debug())));
        }
        let (mut segments, mut names): (Vec<Segment>, Vec<&str>) = (Vec::new(), Vec::new());
        for part in text.split(':') {
            if let Some(Segment::Rest(name)) = segments.last() {
                return Err(wrong(format!("`{{*{name}}}` takes all that remains: nothing may follow it in `{text}`")));
            }
            let segment = Segment::read(part).map_err(|hint| {
                wrong(format!("`{part}` is no segment of a pattern"))
                    .expected("a literal, `{name}`, `*` or a last `{*name}`")
                    .hint(Some(hint))
            })?;
            if let Segment::One(Some(_)) | Segment::Rest(_) = segment {
                let name = part.trim_matches(['{', '}']).trim_start_matches('*');
                if TAKEN.contains(&name) {
                    return Err(wrong(format!("`{name}` cannot be a variable: rules know another `{name}`"))
                        .hint(Some(format!("write `{{{name}Id}}`, say"))));
                }
                if names.contains(&name) {
                    return Err(wrong(format!("`{name}` is named twice in `{text}`")));
                }
                names.push(name);
            }
            segments.push(segment);
        }
        Ok(Pattern { text: text.into(), segments: segments.into() })
    }

    /// The variables that a text seems to name which is no pattern.
    pub(super) fn likely_names(text: &str) -> impl Iterator<Item = &str> {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let names = text.split('{').skip(1).map(|rest| rest.trim_start_matches('*'));
        names.map(move |rest| rest.split(|c| !word(c)).next().unwrap_or_default()).filter(|name| !name.is_empty())
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a well-formed name is one of this pattern's.
    pub fn matches(&self, name: &ChannelName) -> bool {
        let mut rest = Some(name.as_str());
        for segment in &self.segments {
            let Some(text) = rest else { return false };
            let (head, tail) = split(text);
            match segment {
                Segment::Literal(literal) if **literal != *head => return false,
                Segment::Literal(_) | Segment::One(_) => rest = tail,
                Segment::Rest(_) => return true,
            }
        }
        rest.is_none()
    }

    /// The names of the wildcards, in order; `None` for `*`.
    pub(super) fn wildcards(&self) -> impl Iterator<Item = Option<&str>> {
        self.segments.iter().filter_map(|s| match s {
            Segment::Literal(_) => None,
            Segment::One(name) => Some(name.as_deref()),
            Segment::Rest(name) => Some(Some(name)),
        })
    }
}

impl Segment {
    /// Err: a hint.
    fn read(part: &str) -> Result<Segment, String> {
        if part == "*" {
            return Ok(Segment::One(None));
        }
        if part == "**" {
            return Err("write `{*rest}` for all remaining segments".into());
        }
        if !part.contains(['{', '}', '*']) {
            return Ok(Segment::Literal(part.into()));
        }
        let Some(inner) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
            return Err("a variable is a whole segment between two `:`, never a part of one".into());
        };
        let (name, rest) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            return Err("a variable's name is letters, digits and `_`, such as `{clinicId}`".into());
        }
        Ok(if rest { Segment::Rest(name.into()) } else { Segment::One(Some(name.into())) })
    }
}

/// The first segment, and the rest where there is one.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b':', text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(pattern: &str, name: &str) -> bool {
        Pattern::compile(pattern, "name").unwrap().matches(&ChannelName::parse(name).unwrap())
    }

    #[test]
    fn whole_segments_match() {
        assert!(is("tenant:1", "tenant:1"));
        for other in ["tenant:12", "tenant:1:x", "tenant", "xtenant:1"] {
            assert!(!is("tenant:1", other), "{other}");
            assert!(!is("tenant:1:{*rest}", "tenant:12:x"));
        }
        assert!(is("tenant:{id}:general", "tenant:12:general"));
        assert!(!is("tenant:{id}:general", "tenant:12:more:general"));
        assert!(is("system:*", "system:x") && !is("system:*", "system:x:y") && !is("system:*", "system"));
        assert!(is("reports:{*topic}", "reports:a:b:c") && !is("reports:{*topic}", "reports"));
    }

    #[test]
    fn a_bad_pattern_says_what_to_write() {
        for (bad, says) in [
            ("tenant:{id", "a whole segment"),
            ("tenant:room-{id}", "a whole segment"),
            ("tenant:a*", "a whole segment"),
            ("tenant:**", "write `{*rest}`"),
            ("tenant:{}", "a variable's name"),
            ("tenant:{user.id}", "a variable's name"),
            ("tenant:{*a}:b", "nothing may follow"),
            ("tenant:{a}:{a}", "named twice"),
            ("tenant:{user}", "rules know another"),
            ("tenant::a", "no empty segment"),
            ("tenant:\n", "no control characters"),
            ("", "must not be empty"),
        ] {
            let problem = Pattern::compile(bad, "channel[0].name").unwrap_err();
            assert!(format!("{problem:?}").contains(says), "{problem:?}");
            assert_eq!(problem.path, "channel[0].name");
        }
    }
}
