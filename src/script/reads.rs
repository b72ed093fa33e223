//! What of its event a handler reads, seen in its text: the rest is neither parsed nor built.

use rhai::Identifier;

/// Fields of `event`.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// Bits of `subject::FIELDS`.
    fields: u32,
    data: Wanted,
}

/// Parts of a value: all of it, or some of its fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    whole: bool,
    fields: Vec<(Identifier, Wanted)>,
}

impl Reads {
    /// The event as a whole goes elsewhere.
    pub fn all(&mut self) {
        self.fields = u32::MAX;
        self.data.whole = true;
    }

    /// A field is read.
    pub fn field(&mut self, bit: u32) {
        self.fields |= bit;
    }

    /// `path` of `event.data` is read; empty: the data as a whole.
    pub fn data(&mut self, path: &[String]) {
        self.data.add(path);
    }

    pub fn has(&self, bit: u32) -> bool {
        self.fields & bit != 0
    }

    /// What of `event.data`.
    pub fn wanted(&self) -> &Wanted {
        &self.data
    }
}

impl Wanted {
    fn add(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            self.whole = true;
            return;
        };
        let at = self.fields.iter().position(|(name, _)| name == first).unwrap_or_else(|| {
            self.fields.push((first.as_str().into(), Wanted::default()));
            self.fields.len() - 1
        });
        self.fields[at].1.add(rest);
    }

    /// `None`: all fields are.
    pub fn fields(&self) -> Option<&[(Identifier, Wanted)]> {
        (!self.whole).then_some(&self.fields)
    }
}
