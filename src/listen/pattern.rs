//! A path pattern: `/ws`, `/progress/{reportId}`, `/files/img-{n}.png`, `/{*any}`.

use crate::model::canonical_path;
use std::cmp::Ordering;

/// A pattern taken apart. Two patterns of one `shape` match the same paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The pattern with its variables renamed to `p0`, `p1`, …, without a trailing slash; as `matchit` reads it.
    pub shape: String,
    /// The variables' names, in order.
    pub names: Vec<String>,
    /// For a pattern that ends in `{*rest}`: what stands before it; matches too, with an empty `rest`.
    pub bare: Option<String>,
    rank: Vec<Kind>,
}

/// Segments from the most to the least telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Text,
    Mixed,
    Variable,
    Rest,
}

impl Pattern {
    /// The error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let Some(inside) = text.strip_prefix('/') else {
            return Err("a path starts with `/`".to_owned());
        };
        if text.contains(['?', '#']) || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a path has no query, fragment or space".to_owned());
        }
        if let Some(c) = text.chars().find(|c| "\"<>\\^`|".contains(*c)) {
            return Err(format!("`{c}` stands in no path as it is: write `%{:02X}`", u32::from(c)));
        }
        let inside = canonical_path(inside.strip_suffix('/').unwrap_or(inside));
        let mut pattern = Pattern { shape: String::new(), names: Vec::new(), bare: None, rank: Vec::new() };
        let segments: Vec<&str> = if inside.is_empty() { Vec::new() } else { inside.split('/').collect() };
        for (i, segment) in segments.iter().enumerate() {
            pattern.segment(segment, i + 1 == segments.len())?;
        }
        if pattern.shape.is_empty() {
            pattern.shape.push('/');
        }
        Ok(pattern)
    }

    fn segment(&mut self, segment: &str, last: bool) -> Result<(), String> {
        let braces = |s: &str| s.contains(['{', '}']);
        let Some((before, rest)) = segment.split_once('{') else {
            if braces(segment) {
                return Err("`}` without `{`".to_owned());
            }
            self.rank.push(Kind::Text);
            self.shape.push('/');
            self.shape.push_str(segment);
            return Ok(());
        };
        let Some((inner, after)) = rest.split_once('}') else {
            return Err("`{` without `}`".to_owned());
        };
        if braces(before) || braces(after) {
            return Err("one variable in a segment at most".to_owned());
        }
        let (star, name) = inner.strip_prefix('*').map_or(("", inner), |name| ("*", name));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("`{{{inner}}}` is not a variable: letters, digits and `_`"));
        }
        if self.names.iter().any(|n| n == name) {
            return Err(format!("`{name}` stands twice"));
        }
        if !star.is_empty() {
            if !last || !before.is_empty() || !after.is_empty() {
                return Err(format!("`{{*{name}}}` is a whole segment, and the last one"));
            }
            self.bare = Some(if self.shape.is_empty() { "/".to_owned() } else { self.shape.clone() });
        }
        self.rank.push(match (star.is_empty(), before.is_empty() && after.is_empty()) {
            (false, _) => Kind::Rest,
            (true, true) => Kind::Variable,
            (true, false) => Kind::Mixed,
        });
        self.shape.push_str(&format!("/{before}{{{star}p{}}}{after}", self.names.len()));
        self.names.push(name.to_owned());
        Ok(())
    }

    /// `Less`: tells more about the path, so it is asked first.
    pub fn precedence(&self, other: &Pattern) -> Ordering {
        let longer = other.rank.len().cmp(&self.rank.len());
        self.rank.iter().zip(&other.rank).map(|(a, b)| a.cmp(b)).find(|o| o.is_ne()).unwrap_or(longer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_match_the_same_have_one_shape() {
        let shape = |text| Pattern::parse(text).unwrap().shape;
        assert_eq!(shape("/a/{x}"), shape("/a/{other}/"));
        assert_eq!(shape("/"), "/");
        assert_eq!(shape("/ws/"), "/ws");
        assert_eq!(Pattern::parse("/{*any}").unwrap().bare.as_deref(), Some("/"));
        assert_eq!(Pattern::parse("/a/img-{n}.png/{*rest}").unwrap().names, ["n", "rest"]);
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_told() {
        for (text, what) in [
            ("ws", "starts with `/`"),
            ("/a?b=1", "no query"),
            ("/{a", "without `}`"),
            ("/a}", "without `{`"),
            ("/{}", "not a variable"),
            ("/{a}{b}", "one variable"),
            ("/{a}/{a}", "twice"),
            ("/{*a}/b", "the last one"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn the_more_telling_pattern_goes_first() {
        let before =
            |a, b| Pattern::parse(a).unwrap().precedence(&Pattern::parse(b).unwrap()) == std::cmp::Ordering::Less;
        assert!(before("/ws", "/{x}") && before("/a{x}", "/{x}") && before("/{x}", "/{*x}"));
        assert!(before("/y/{b}", "/{a}/x") && before("/a/b", "/a"));
    }
}
