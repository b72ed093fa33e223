//! From a channel's name to its class: a tree of segments, literal before `{variable}` before `{*rest}`.

use super::pattern::{Captures, Pattern, Segment, split};
use hashbrown::HashMap;

#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    one: Option<usize>,
    /// The class of names that end here.
    end: Option<u16>,
    /// The class of names that go on, whatever follows.
    rest: Option<u16>,
}

impl Trie {
    /// Err: the class of the same shape that is there already.
    pub fn insert(&mut self, pattern: &Pattern, class: u16) -> Result<(), u16> {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in &pattern.segments {
            let fresh = self.nodes.len();
            let next = match segment {
                Segment::Literal(text) => *self.nodes[at].literals.entry(text.clone()).or_insert(fresh),
                Segment::One(_) => *self.nodes[at].one.get_or_insert(fresh),
                Segment::Rest(_) => return claim(&mut self.nodes[at].rest, class),
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        claim(&mut self.nodes[at].end, class)
    }

    /// The most specific class of a well-formed name. Visits each node once at most: a node stands for one way to it.
    pub fn find<'n>(&self, name: &'n str) -> Option<(u16, Captures<'n>)> {
        let mut captures = Captures::new();
        let class = self.walk(0, Some(name), &mut captures)?;
        Some((class, captures))
    }

    /// Classes of `{*rest}` that no name reaches, each with the classes that take all its names.
    pub fn shadowed(&self) -> Vec<(u16, Vec<u16>)> {
        let each = self.nodes.iter().filter_map(|node| Some((node.rest?, self.covers(node.one?)?)));
        each.collect()
    }

    /// The classes that take every name from here on, whatever follows, if they do.
    fn covers(&self, at: usize) -> Option<Vec<u16>> {
        let node = self.nodes.get(at)?;
        let mut by = vec![node.end?];
        match node.rest {
            Some(rest) => by.push(rest),
            None => by.extend(self.covers(node.one?)?),
        }
        Some(by)
    }

    fn walk<'n>(&self, at: usize, rest: Option<&'n str>, captures: &mut Captures<'n>) -> Option<u16> {
        let node = self.nodes.get(at)?;
        let Some(text) = rest else { return node.end };
        let (head, tail) = split(text);
        if let Some(&next) = node.literals.get(head)
            && let Some(class) = self.walk(next, tail, captures)
        {
            return Some(class);
        }
        if let Some(next) = node.one {
            captures.push(head);
            if let Some(class) = self.walk(next, tail, captures) {
                return Some(class);
            }
            captures.pop();
        }
        node.rest.inspect(|_| captures.push(text))
    }
}

fn claim(place: &mut Option<u16>, class: u16) -> Result<(), u16> {
    match *place {
        Some(other) => Err(other),
        None => {
            *place = Some(class);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(patterns: &[&str]) -> Trie {
        let mut trie = Trie::default();
        for (i, p) in patterns.iter().enumerate() {
            trie.insert(&Pattern::compile(p, "").unwrap(), i as u16).unwrap();
        }
        trie
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let patterns = ["a:{*r}", "a:{x}", "a:b", "a:{x}:c", "a:b:{*r}", "{x}:b", "{*r}"];
        for turn in 0..patterns.len() {
            let mut order = patterns;
            order.rotate_left(turn);
            let trie = trie(&order);
            for (name, pattern, captures) in [
                ("a:b", "a:b", &[][..]),
                ("a:x", "a:{x}", &["x"]),
                ("a:x:c", "a:{x}:c", &["x"]),
                ("a:b:c", "a:b:{*r}", &["c"]),
                ("a:x:d", "a:{*r}", &["x:d"]),
                ("z:b", "{x}:b", &["z"]),
                ("z:c", "{*r}", &["z:c"]),
                ("a", "{*r}", &["a"]),
            ] {
                let (class, found) = trie.find(name).unwrap();
                assert_eq!((order[class as usize], &found[..]), (pattern, captures), "{name}");
            }
        }
    }

    #[test]
    fn two_patterns_of_one_shape_are_told() {
        let mut trie = trie(&["a:{x}", "a:{*r}"]);
        assert_eq!(trie.insert(&Pattern::compile("a:*", "").unwrap(), 9), Err(0));
        assert_eq!(trie.insert(&Pattern::compile("a:{*other}", "").unwrap(), 9), Err(1));
    }

    #[test]
    fn a_pattern_that_others_leave_nothing_is_told() {
        assert_eq!(trie(&["a:{*r}", "a:{x}", "a:{x}:{*r}"]).shadowed(), [(0, vec![1, 2])]);
        assert_eq!(trie(&["a:{*r}", "a:{x}", "a:{x}:{y}"]).shadowed(), []);
        assert_eq!(trie(&["a:{*r}", "a:{x}:{*r}"]).shadowed(), []);
    }

    #[test]
    fn no_pattern_no_class() {
        assert_eq!(Trie::default().find("a"), None);
        assert_eq!(trie(&["a:{x}:c"]).find("a:b:d"), None);
    }
}
