//! Where a message type's arguments lie in its message, and their values.

use super::scan;
use serde_json::value::RawValue;

/// What a message may give its verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    Channel,
    Channels,
    Data,
    Token,
    Claims,
    Since,
    Limit,
    Event,
    Key,
    Id,
}

/// The arguments of one message, as JSON; by `Arg`.
pub(super) type Args<'a> = [Option<&'a RawValue>; 10];

/// The fields of an object that are arguments or hold some.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    names: Vec<Box<str>>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Which of the object's values it is, in the list that `collect` is handed.
    slot: usize,
    /// Those that are this value itself.
    args: Vec<Arg>,
    inside: Tree,
}

impl Tree {
    pub fn add(&mut self, arg: Arg, path: &[&str]) {
        let Some((name, rest)) = path.split_first() else { return };
        let at = self.names.iter().position(|known| **known == **name).unwrap_or_else(|| {
            self.names.push((*name).into());
            self.nodes.push(Node { slot: self.nodes.len(), ..Node::default() });
            self.nodes.len() - 1
        });
        match rest {
            [] => self.nodes[at].args.push(arg),
            rest => self.nodes[at].inside.add(arg, rest),
        }
    }

    /// Makes the tree look in the values of `fields`, which gains the names that it misses.
    pub fn look_in(&mut self, fields: &mut Vec<Box<str>>) {
        for (name, node) in self.names.iter().zip(&mut self.nodes) {
            node.slot = fields.iter().position(|known| known == name).unwrap_or_else(|| {
                fields.push(name.clone());
                fields.len() - 1
            });
        }
    }

    /// Takes arguments from an object's values. `false`: something that should hold arguments is no object.
    pub fn collect<'a>(&self, values: &[Option<&'a RawValue>], args: &mut Args<'a>) -> bool {
        let mut well = true;
        for node in &self.nodes {
            let Some(value) = values[node.slot] else { continue };
            for arg in &node.args {
                args[*arg as usize] = Some(value);
            }
            if !node.inside.names.is_empty() && value.get() != "null" {
                well &= scan::fields(value.get(), &node.inside.names)
                    .is_some_and(|inside| node.inside.collect(&inside, args));
            }
        }
        well
    }
}
