//! What is wrong with a setting, before `config` says where it stands.

/// One mistake in settings, told by the room that they belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where, relative to the settings handed in: `channel[3].subscribe`.
    pub path: String,
    /// Line and column inside the value, 1-based, where the value is a text of its own such as a rule.
    pub offset: Option<(u32, u32)>,
    /// The file that has it, as the settings name it, where it is not that of the settings: `offset` counts in it.
    pub file: Option<Box<NamedFile>>,
    /// ``unknown overflow `forevr` ``
    pub what: String,
    /// `` `close`, `drop_oldest` or `conflate` ``
    pub expected: Option<String>,
    /// ``did you mean `close`?``
    pub hint: Option<String>,
}

/// As settings name it. Boxed in a problem: most have none, and a `Result` with one is handed on often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedFile(pub String);

impl Problem {
    pub fn new(path: impl Into<String>, what: impl Into<String>) -> Problem {
        Problem { path: path.into(), offset: None, file: None, what: what.into(), expected: None, hint: None }
    }

    pub fn at(mut self, line: u32, column: u32) -> Problem {
        self.offset = Some((line, column));
        self
    }

    /// Stands in this file that the settings name.
    pub fn in_file(mut self, name: &str) -> Problem {
        self.file = Some(Box::new(NamedFile(name.to_owned())));
        self
    }

    pub fn expected(mut self, expected: impl Into<String>) -> Problem {
        self.expected = Some(expected.into());
        self
    }

    pub fn hint(mut self, hint: Option<String>) -> Problem {
        self.hint = hint;
        self
    }
}

/// ``did you mean `close`?``, where a candidate is near enough.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.len().min(word.len()) / 4)
        .min()?;
    Some(format!("did you mean `{}`?", near.1))
}

/// `` `a`, `b` or `c` ``
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|w| format!("`{w}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_offered_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("clos", ["close", "conflate"]).as_deref(), Some("did you mean `close`?"));
        assert_eq!(did_you_mean("lisetner", ["listener", "limits"]).as_deref(), Some("did you mean `listener`?"));
        assert_eq!(did_you_mean("zebra", ["close", "conflate"]), None);
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
