//! May this happen? The app's classes, and the answer.

use super::class::{Class, Context, Match};
use super::permit::{Permit, Right, RightKind, Scope};
use super::rule::{Cache, Reads, RuleError};
use super::settings::ChannelSettings;
use super::trie::Trie;
use crate::model::{ChannelName, Code, Identity, Millis, Problem, Refusal, Tables};
use std::borrow::Cow;
use std::net::IpAddr;

/// The channel classes of one app.
#[derive(Debug)]
pub struct Policy {
    classes: Box<[Class]>,
    pub(super) trie: Trie,
    /// Names of the app's tables.
    pub(super) tables: Box<[Box<str>]>,
}

/// The HTTP request that a command came with, or that opened its connection. Read only where a rule names it.
pub trait RequestView {
    /// Without the query.
    fn path(&self) -> &str;
    /// A parameter of the query, decoded; the first of its name.
    fn query(&self, name: &str) -> Option<Cow<'_, str>>;
    /// A header by its name in lower case.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The client, behind trusted proxies.
    fn ip(&self) -> IpAddr;
    /// A variable of the endpoint's or the route's path.
    fn var(&self, name: &str) -> Option<&str>;
}

/// Who asks, from where and when.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub identity: &'a Identity,
    /// `None`: what rules read of it is missing.
    pub request: Option<&'a dyn RequestView>,
    pub tables: &'a dyn Tables,
    pub now: Millis,
}

impl Policy {
    /// Compiles an app's `[[channel]]` tables, in their order: a class's number is its place.
    ///
    /// `tables`: the app's table names. `origin` tells where a path such as `channel[3].subscribe` stands:
    /// `channels/clinic.toml:41:13`. Err: every problem there is.
    pub fn compile<'s>(
        channels: impl IntoIterator<Item = &'s ChannelSettings>,
        tables: &[&str],
        origin: &dyn Fn(&str) -> String,
    ) -> Result<Policy, Vec<Problem>> {
        let (mut classes, mut trie, mut problems) = (Vec::new(), Trie::default(), Vec::new());
        let mut names = Vec::new();
        for (i, settings) in channels.into_iter().enumerate() {
            let path = format!("channel[{i}]");
            let Ok(number) = u16::try_from(i) else {
                problems.push(Problem::new(path, "more than 65536 channel classes"));
                break;
            };
            names.push(&settings.name);
            let context = Context { tables, origin };
            if let Some(class) = Class::compile(settings, &path, &context, &mut problems) {
                if let Err(earlier) = trie.insert(&class.pattern, number) {
                    let (earlier_name, at) = (names[earlier as usize], (origin)(&format!("channel[{earlier}].name")));
                    problems.push(
                        Problem::new(
                            format!("{path}.name"),
                            format!("`{}` is shadowed by `{earlier_name}`", settings.name),
                        )
                        .expected(format!("another shape than the one at {at}")),
                    );
                }
                classes.push(class);
            }
        }
        let tables = tables.iter().map(|t| Box::from(*t)).collect();
        let policy = Policy { classes: classes.into(), trie, tables };
        if problems.is_empty() {
            problems.extend(policy.dangling());
        }
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }

    /// Templates without variables whose channel no class knows.
    fn dangling(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (i, class) in self.classes.iter().enumerate() {
            let also = class.also.iter().enumerate().map(|(j, t)| (format!("also[{j}]"), t));
            for (key, template) in class.alias.iter().map(|t| ("alias".to_owned(), t)).chain(also) {
                let Some(name) = template.constant() else { continue };
                match self.find(&name) {
                    None => {
                        problems.push(Problem::new(format!("channel[{i}].{key}"), format!("no class matches `{name}`")))
                    }
                    Some(found) if found.class.is_alias() => problems.push(Problem::new(
                        format!("channel[{i}].{key}"),
                        format!("`{name}` is an alias itself: `{}`", found.class.pattern.text()),
                    )),
                    Some(_) => {}
                }
            }
        }
        problems
    }

    /// The classes, by number.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// A client's text as a channel name. Malformed names belong to no class.
    pub fn name(text: &str) -> Result<ChannelName, Refusal> {
        ChannelName::parse(text).map_err(|_| Refusal::new(Code::UnknownChannel))
    }

    /// Whether any class says where its channels' order is kept.
    pub fn has_homes(&self) -> bool {
        self.classes.iter().any(|class| class.home.is_some())
    }

    /// Whether a decision of any class about this right hangs on rows of tables.
    pub fn reads_tables(&self, right: RightKind) -> bool {
        self.classes.iter().any(|class| class.reads(right).contains(Reads::TABLES))
    }

    /// The class of a name, as written: an alias is not followed.
    pub fn find<'m>(&'m self, name: &'m ChannelName) -> Option<Match<'m>> {
        let (number, captures) = self.trie.find(name.as_str())?;
        Some(Match { name, number, class: self.classes.get(number as usize)?, captures })
    }

    /// The channel that a name stands for: itself, or what its class's `alias` makes of it for this user.
    pub fn resolve(&self, name: &ChannelName, identity: &Identity) -> Result<ChannelName, Refusal> {
        let found = self.find(name).ok_or_else(|| Refusal::new(Code::UnknownChannel))?;
        found.target(identity).map(|target| target.unwrap_or_else(|| name.clone()))
    }

    /// Decides one right on one channel for a client. An alias must be allowed by its own class and by its target's:
    /// another name is no way around a channel's rules.
    pub fn decide<R: Right>(
        &self,
        name: &ChannelName,
        asking: &Asking<'_>,
        generation: u64,
    ) -> Result<Permit<R>, Refusal> {
        let found = self.find(name).ok_or_else(|| Refusal::new(Code::UnknownChannel))?;
        found.decide(R::KIND, asking)?;
        let Some(target) = found.target(asking.identity)? else {
            return Ok(Permit::new(name.clone(), found.number, generation));
        };
        let number = {
            let found = self.find(&target).filter(|f| !f.class.is_alias());
            let found = found.ok_or_else(|| Refusal::new(Code::UnknownChannel))?;
            found.decide(R::KIND, asking)?;
            found.number
        };
        Ok(Permit::new(target, number, generation))
    }

    /// Lets an API key, a plugin or the gateway itself do what its own scope covers. No rule is asked; a channel
    /// without a class does not exist here either, and an alias stands for nothing without a user.
    pub fn allow_api<R: Right>(
        &self,
        scope: &Scope,
        name: &ChannelName,
        generation: u64,
    ) -> Result<Permit<R>, Refusal> {
        let unknown = || Refusal::new(Code::UnknownChannel);
        if !scope.covers(name) {
            return Err(Refusal::because(Code::Denied, "The key does not cover this channel"));
        }
        let found = self.find(name).ok_or_else(unknown)?;
        let target = found.target(&Identity::anonymous()).map_err(|_| unknown())?;
        let Some(target) = target else {
            return Ok(Permit::new(name.clone(), found.number, generation));
        };
        if !scope.covers(&target) {
            return Err(Refusal::because(Code::Denied, "The key does not cover this channel"));
        }
        let number = self.find(&target).filter(|f| !f.class.is_alias()).ok_or_else(unknown)?.number;
        Ok(Permit::new(target, number, generation))
    }

    /// Where a verdict about this name may be kept.
    pub fn cache(&self, name: &ChannelName, right: RightKind) -> Cache {
        match self.find(name) {
            None => Cache::Always,
            // What an alias leads to hangs on the user, and its class is another's.
            Some(found) if found.class.is_alias() => Cache::Never,
            Some(found) => found.class.reads(right).cache(),
        }
    }
}

impl Match<'_> {
    /// The channel that this one is an alias of.
    fn target(&self, identity: &Identity) -> Result<Option<ChannelName>, Refusal> {
        let Some(alias) = &self.class.alias else { return Ok(None) };
        alias.expand(&self.captures, identity).map(Some).map_err(|why| Refusal {
            rule: Some(format!("`{}` as `{}`: {why}", self.name, alias.text()).into()),
            ..Refusal::new(Code::UnknownChannel)
        })
    }

    /// What the right's rule says; `Ok(false)` also where there is none.
    pub(super) fn verdict(&self, right: RightKind, asking: &Asking<'_>) -> Result<bool, RuleError> {
        match &self.class.ruled(right).rule {
            Some(rule) => rule.holds(asking, &self.captures),
            None => Ok(false),
        }
    }

    fn decide(&self, right: RightKind, asking: &Asking<'_>) -> Result<(), Refusal> {
        let error = match self.verdict(right, asking) {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(error) => Some(error),
        };

        Err(self.refusal(right, asking, error.as_ref()))
    }

    pub(super) fn refusal(&self, right: RightKind, asking: &Asking<'_>, error: Option<&RuleError>) -> Refusal {
        let holds = |when: &super::Rule| when.holds(asking, &self.captures) == Ok(true);
        // What the class says to those whom it refuses is not for those about whom it cannot decide.
        if let Some(error) = error.filter(|e| e.unavailable) {
            let rule = Some(format!("{}: {error}", self.class.ruled(right).origin).into());
            return Refusal { rule, ..Refusal::new(Code::Unavailable) };
        }
        let entry = self.class.refuse.iter().find(|r| r.when.as_ref().is_none_or(holds));
        let origin = &self.class.ruled(right).origin;
        Refusal {
            message: entry.and_then(|e| e.message.clone()),
            rule: Some(match error {
                None => origin.clone(),
                Some(error) => format!("{origin}: {error}").into(),
            }),
            ..Refusal::new(entry.map_or(Code::Denied, |e| e.code))
        }
    }
}
