//! A channel class: what `[[channel]]` came to.

use super::pattern::{Captures, Pattern};
use super::permit::RightKind;
use super::rule::{Names, Reads, Rule};
use super::settings::{ChannelSettings, RefuseSettings};
use super::template::{self, Template};
use crate::model::{BadName, ChannelName, Code, Problem, did_you_mean, one_of};
use std::borrow::Cow;
use std::sync::Arc;

/// One class. Its number is its place among the app's `[[channel]]` tables.
#[derive(Debug)]
pub struct Class {
    pub(super) pattern: Pattern,
    pub(super) names: Box<[Option<Box<str>>]>,
    pub(super) rights: [Ruled; 4],
    pub(super) refuse: Box<[Refuse]>,
    pub(super) alias: Option<Template>,
    pub(super) home: Option<Template>,
    pub(super) also: Box<[Template]>,
}

/// A right and the rule that decides it.
#[derive(Debug)]
pub(super) struct Ruled {
    /// `None`: nobody.
    pub rule: Option<Arc<Rule>>,
    /// For logs: `channels/clinic.toml:41:13 subscribe`.
    pub origin: Arc<str>,
}

#[derive(Debug)]
pub(super) struct Refuse {
    pub when: Option<Rule>,
    pub code: Code,
    pub message: Option<Cow<'static, str>>,
}

/// A channel and its class.
#[derive(Clone, Debug)]
pub struct Match<'m> {
    pub(super) name: &'m ChannelName,
    pub(super) number: u16,
    pub(super) class: &'m Class,
    pub(super) captures: Captures<'m>,
}

impl<'m> Match<'m> {
    pub fn name(&self) -> &'m ChannelName {
        self.name
    }

    /// The class's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn class(&self) -> &'m Class {
        self.class
    }

    /// The pattern's variables, in order.
    pub fn vars(&self) -> impl Iterator<Item = (&'m str, &'m str)> {
        let names = self.class.names.iter();
        names.zip(self.captures.iter()).filter_map(|(name, value)| Some((name.as_deref()?, *value)))
    }

    pub fn var(&self, name: &str) -> Option<&'m str> {
        self.vars().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Where its order is kept: the class's `home`, else the channel itself. Err: longer than a name may be.
    pub fn home(&self) -> Result<ChannelName, BadName> {
        match &self.class.home {
            Some(home) => self.expand(home),
            None => Ok(self.name.clone()),
        }
    }

    /// Channels that hear its events too. What grows longer than a name may be is left out.
    pub fn also(&self) -> impl Iterator<Item = ChannelName> {
        self.class.also.iter().filter_map(|t| self.expand(t).ok())
    }

    /// Templates of the channel alone name no user.
    fn expand(&self, template: &Template) -> Result<ChannelName, BadName> {
        template.expand(&self.captures, &crate::model::Identity::anonymous()).map_err(|unnamed| match unnamed {
            template::Unnamed::Bad(bad) => bad,
            template::Unnamed::Missing(_) | template::Unnamed::Segments(_) => BadName::EmptySegment,
        })
    }
}

impl Class {
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The pattern's variables, in order.
    pub fn vars(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|name| name.as_deref())
    }

    /// Whether its name stands for another channel.
    pub fn is_alias(&self) -> bool {
        self.alias.is_some()
    }

    /// What a decision of this class hangs on, the text of its refusal included.
    pub fn reads(&self, right: RightKind) -> Reads {
        let rule = self.ruled(right).rule.as_deref();
        if rule.and_then(Rule::constant) == Some(true) {
            return Reads::NOTHING;
        }
        let whens = self.refuse.iter().filter_map(|r| r.when.as_ref());
        whens.fold(rule.map_or(Reads::NOTHING, Rule::reads), |reads, when| reads | when.reads())
    }

    pub(super) fn ruled(&self, right: RightKind) -> &Ruled {
        &self.rights[right as usize]
    }
}

/// What compiling a class needs to know of its app.
pub(super) struct Context<'c> {
    pub tables: &'c [&'c str],
    /// From a path such as `channel[3].subscribe` to `channels/clinic.toml:41:13`.
    pub origin: &'c dyn Fn(&str) -> String,
}

impl Class {
    /// `path`: `channel[3]`. `None` where the name itself is no pattern: rules are judged by the variables that it seems
    /// to have, for their mistakes are told in the same go.
    pub(super) fn compile(
        settings: &ChannelSettings,
        path: &str,
        context: &Context<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Class> {
        let pattern = Pattern::compile(&settings.name, &format!("{path}.name"));
        let pattern = pattern.map_err(|problem| problems.push(problem)).ok();
        let wildcards: Vec<Option<&str>> = match &pattern {
            Some(pattern) => pattern.wildcards().collect(),
            None => Pattern::likely_names(&settings.name).map(Some).collect(),
        };
        let names = Names { captures: &wildcards, tables: context.tables };
        let rights = rights(settings, path, names, context, problems);
        let refuse = settings.refuse.iter().enumerate();
        let refuse = refuse.map(|(i, r)| Refuse::compile(r, &format!("{path}.refuse[{i}]"), names, problems)).collect();
        let pattern = pattern.as_ref()?.clone();
        let rest = matches!(pattern.segments.last(), Some(super::pattern::Segment::Rest(_)));
        let mut template = |text: &String, key: &str, user: bool| {
            let names = template::Names { wildcards: &wildcards, rest, user };
            Template::compile(text, &format!("{path}.{key}"), names).map_err(|problem| problems.push(problem)).ok()
        };
        let alias = settings.alias.as_ref().and_then(|t| template(t, "alias", true));
        let home = settings.home.as_ref().and_then(|t| template(t, "home", false));
        let also = settings.also.iter().enumerate();
        let also = also.filter_map(|(i, t)| template(t, &format!("also[{i}]"), false)).collect();
        let names = wildcards.iter().map(|n| n.map(Box::from)).collect();
        Some(Class { names, pattern, rights, refuse, alias, home, also })
    }
}

fn rights(
    settings: &ChannelSettings,
    path: &str,
    names: Names<'_>,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> [Ruled; 4] {
    let mut ruled = |right: RightKind, text: Option<&String>| {
        let at = format!("{path}.{}", right.key());
        let Some(text) = text else {
            let origin = (context.origin)(&format!("{path}.name"));
            return Ruled { rule: None, origin: format!("{origin} has no `{}` rule", right.key()).into() };
        };
        let origin = format!("{} {}", (context.origin)(&at), right.key());
        let rule = Rule::compile_with(text, &at, names).map_err(|more| problems.extend(more)).ok();
        Ruled { rule: rule.map(Arc::new), origin: origin.into() }
    };
    let subscribe = ruled(RightKind::Subscribe, settings.subscribe.as_ref());
    let publish = ruled(RightKind::Publish, settings.publish.as_ref());
    // Who may hear a channel may also ask what was said and who is there, unless the class says otherwise.
    let mut reading = |right, text: &Option<String>| match text {
        Some(text) => ruled(right, Some(text)),
        None => Ruled { rule: subscribe.rule.clone(), origin: subscribe.origin.clone() },
    };
    let history = reading(RightKind::History, &settings.read_history);
    let presence = reading(RightKind::Presence, &settings.read_presence);
    [subscribe, publish, history, presence]
}

impl Refuse {
    fn compile(settings: &RefuseSettings, path: &str, names: Names<'_>, problems: &mut Vec<Problem>) -> Refuse {
        let when = settings.when.as_ref().and_then(|text| {
            let rule = Rule::compile_with(text, &format!("{path}.when"), names);
            rule.map_err(|more| problems.extend(more)).ok()
        });
        let code = settings.code.as_deref().map_or(Some(Code::Denied), |text| {
            let code = Code::ALL.into_iter().find(|c| c.as_str() == text);
            if code.is_none() {
                let known = || Code::ALL.iter().map(|c| c.as_str());
                problems.push(
                    Problem::new(format!("{path}.code"), format!("unknown code `{text}`"))
                        .expected(one_of(known()))
                        .hint(did_you_mean(text, known())),
                );
            }
            code
        });
        let message = settings.message.clone().map(Cow::Owned);
        Refuse { when, code: code.unwrap_or(Code::Denied), message }
    }
}
