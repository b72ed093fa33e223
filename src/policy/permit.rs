//! The proof that policy was asked.

use super::pattern::Pattern;
use crate::model::{ChannelName, Problem};
use std::fmt;
use std::marker::PhantomData;

/// What may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RightKind {
    Subscribe,
    Publish,
    History,
    Presence,
}

impl RightKind {
    pub const ALL: [RightKind; 4] = [RightKind::Subscribe, RightKind::Publish, RightKind::History, RightKind::Presence];

    /// The key of its rule in a `[[channel]]` table.
    pub const fn key(self) -> &'static str {
        match self {
            RightKind::Subscribe => "subscribe",
            RightKind::Publish => "publish",
            RightKind::History => "read_history",
            RightKind::Presence => "read_presence",
        }
    }
}

/// A right as a type, so that a `Permit<Subscribe>` cannot publish.
pub trait Right: sealed::Sealed + 'static {
    const KIND: RightKind;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Right for $name {
            const KIND: RightKind = RightKind::$name;
        }
    )*};
}

rights! {
    /// To hear a channel.
    Subscribe;
    /// To be heard on it.
    Publish;
    /// To ask what was said.
    History;
    /// To ask who is there.
    Presence;
}

/// Leave to use one right on one channel. Made only in this room.
pub struct Permit<R> {
    channel: ChannelName,
    class: u16,
    generation: u64,
    right: PhantomData<fn() -> R>,
}

impl<R: Right> Permit<R> {
    pub(super) fn new(channel: ChannelName, class: u16, generation: u64) -> Permit<R> {
        Permit { channel, class, generation, right: PhantomData }
    }

    /// The channel, an alias resolved.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The class's place among the app's `[[channel]]` tables.
    pub fn class(&self) -> u16 {
        self.class
    }

    /// The generation that decided; a later one decides again.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl<R> Clone for Permit<R> {
    fn clone(&self) -> Permit<R> {
        Permit { channel: self.channel.clone(), class: self.class, generation: self.generation, right: PhantomData }
    }
}

impl<R: Right> fmt::Debug for Permit<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Permit({} {}, class {}, generation {})", R::KIND.key(), self.channel, self.class, self.generation)
    }
}

/// Where an API key or a plugin acts on its own authority: no rule is asked, the class must exist all the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope(Reach);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Reach {
    Everywhere,
    Patterns(Box<[Pattern]>),
}

/// Nowhere.
impl Default for Reach {
    fn default() -> Reach {
        Reach::Patterns(Box::default())
    }
}

impl Scope {
    /// The app's plugin, the gateway itself.
    pub fn everywhere() -> Scope {
        Scope(Reach::Everywhere)
    }

    /// A key's `channels`: patterns like those of classes; `*` alone is every channel. `path`: `api_key.x.channels`.
    pub fn compile(patterns: &[String], path: &str) -> Result<Scope, Vec<Problem>> {
        let (mut good, mut problems, mut all) = (Vec::new(), Vec::new(), false);
        for (i, text) in patterns.iter().enumerate() {
            all |= text == "*";
            match Pattern::compile(text, &format!("{path}[{i}]")) {
                Ok(pattern) => good.push(pattern),
                Err(problem) => problems.push(problem),
            }
        }
        match problems.is_empty() {
            true => Ok(Scope(if all { Reach::Everywhere } else { Reach::Patterns(good.into()) })),
            false => Err(problems),
        }
    }

    pub fn covers(&self, name: &ChannelName) -> bool {
        match &self.0 {
            Reach::Everywhere => true,
            Reach::Patterns(patterns) => patterns.iter().any(|p| p.matches(name)),
        }
    }
}
