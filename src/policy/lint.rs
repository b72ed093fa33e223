//! What is legal in an app's classes and probably not meant.

use super::Always;
use super::decide::Policy;
use super::permit::RightKind;
use std::collections::BTreeSet;

/// A rule, or a part of one, that comes to the same whoever asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// `channel[3].subscribe`
    pub path: String,
    pub always: Always,
}

/// A class that no channel has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shadow {
    pub class: usize,
    /// The classes that take all its channels.
    pub by: Vec<usize>,
}

impl Policy {
    /// Rules and conditions of refusals that always come to the same.
    pub fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for (i, class) in self.classes().iter().enumerate() {
            for right in RightKind::ALL {
                let inherited = matches!(right, RightKind::History | RightKind::Presence)
                    && class.ruled(right).origin == class.ruled(RightKind::Subscribe).origin;
                let rule = class.ruled(right).rule.as_ref().filter(|_| !inherited);
                let always = rule.and_then(|rule| rule.always());
                doubts.extend(always.map(|always| Doubt { path: format!("channel[{i}].{}", right.key()), always }));
            }
            for (j, refuse) in class.refuse.iter().enumerate() {
                let always = refuse.when.as_ref().and_then(|when| when.always());
                doubts.extend(always.map(|always| Doubt { path: format!("channel[{i}].refuse[{j}].when"), always }));
            }
        }
        doubts
    }

    /// Classes whose every channel is another's.
    pub fn shadowed(&self) -> Vec<Shadow> {
        let by = |by: Vec<u16>| by.into_iter().map(usize::from).collect();
        self.trie.shadowed().into_iter().map(|(class, others)| Shadow { class: class.into(), by: by(others) }).collect()
    }

    /// Entries of `refuse` behind one without `when`, as paths: nobody reads them.
    pub fn unreachable(&self) -> Vec<String> {
        let classes = self.classes().iter().enumerate();
        classes
            .flat_map(|(i, class)| {
                let first = class.refuse.iter().position(|r| r.when.is_none()).unwrap_or(class.refuse.len());
                (first + 1..class.refuse.len()).map(move |j| format!("channel[{i}].refuse[{j}]"))
            })
            .collect()
    }

    /// The tables that rules look into.
    pub fn tables_read(&self) -> BTreeSet<&str> {
        let rules = self.classes().iter().flat_map(|c| c.rights.iter().filter_map(|r| r.rule.as_deref()));
        let whens = self.classes().iter().flat_map(|c| c.refuse.iter().filter_map(|r| r.when.as_ref()));
        rules.chain(whens).flat_map(|rule| rule.tables()).collect()
    }

    /// Whether any class has a rule for this right.
    pub fn grants(&self, right: RightKind) -> bool {
        self.classes().iter().any(|c| c.ruled(right).rule.as_ref().is_some_and(|r| r.constant() != Some(false)))
    }
}
