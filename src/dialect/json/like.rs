//! `like`: a dialect that differs from another in what it sets itself.

use super::settings::{Send, Settings};
use crate::model::{Problem, did_you_mean, one_of};
use std::collections::BTreeMap;

/// Builds a struct whose fields are those of the first, or where they are `None`, those of the second.
macro_rules! first_of {
    ($own:expr, $base:expr, $type:ident { $($field:ident),* $(,)? } $($rest:tt)*) => {
        $type { $($field: $own.$field.clone().or_else(|| $base.$field.clone()),)* $($rest)* }
    };
}

impl Settings {
    /// Every dialect with what it has from the one that it is `like`. Those that name none, or go in a circle, are
    /// left out and told; paths of problems begin with the dialect's name: `stream.like`.
    pub fn inherited(written: &BTreeMap<String, Settings>) -> (BTreeMap<String, Settings>, Vec<Problem>) {
        let (mut whole, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, own) in written {
            match lineage(name, written) {
                Ok(bases) => {
                    let made = bases.iter().fold(own.clone(), |made, base| made.over(base));
                    whole.insert(name.clone(), made);
                }
                Err(Some(problem)) => problems.push(problem),
                Err(None) => {}
            }
        }
        (whole, problems)
    }

    /// What is not set here is as in `base`.
    fn over(&self, base: &Settings) -> Settings {
        first_of!(self, base, Settings {
            type_field, id, greet, connection_id, quiet, receive_default, delivery, denied, member, close_after_hello, shutdown,
        }
            like: self.like.clone(),
            receive: merged(&self.receive, &base.receive),
            send: self.send.over(&base.send),
            text: merged(&self.text, &base.text),
            code: merged(&self.code, &base.code),
        )
    }
}

impl Send {
    fn over(&self, base: &Send) -> Send {
        first_of!(
            self,
            base,
            Send {
                hello,
                pong,
                status,
                subscribed,
                subscribe_result,
                unsubscribed,
                unsubscribe_result,
                published,
                error,
                history,
                presence,
                reply,
                authenticated,
                expiring,
                gap,
                revoked,
                shutdown,
                joined,
                left,
            }
        )
    }
}

fn merged<V: Clone>(own: &BTreeMap<String, V>, base: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    base.iter().chain(own).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The dialects that one is like, nearest first. `Err(None)`: the mistake is another dialect's, and told there.
fn lineage<'s>(name: &str, written: &'s BTreeMap<String, Settings>) -> Result<Vec<&'s Settings>, Option<Problem>> {
    let (mut bases, mut passed, mut at) = (Vec::new(), vec![name], name);
    while let Some(like) = written.get(at).and_then(|settings| settings.like.as_deref()) {
        let Some((known, base)) = written.get_key_value(like) else {
            return Err((at == name).then(|| unknown(name, like, written)));
        };
        if let Some(begin) = passed.iter().position(|p| p == known) {
            let circle: Vec<String> =
                passed[begin..].iter().chain([&known.as_str()]).map(|n| format!("`{n}`")).collect();
            let problem = Problem::new(format!("{name}.like"), format!("a circle: {}", circle.join(" is like ")));
            return Err((begin == 0).then_some(problem));
        }
        passed.push(known);
        bases.push(base);
        at = known;
    }
    Ok(bases)
}

fn unknown(name: &str, like: &str, written: &BTreeMap<String, Settings>) -> Problem {
    let known = || written.keys().map(String::as_str).filter(|known| *known != name);
    let expected = if written.len() > 1 { one_of(known()) } else { "another [dialect.NAME] of this file".into() };
    let problem = Problem::new(format!("{name}.like"), format!("unknown dialect `{like}`"));
    problem.expected(expected).hint(did_you_mean(like, known()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tables(text: &str) -> BTreeMap<String, Settings> {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_dialect_says_only_what_is_different() {
        let written = tables(
            r#"
            [a]
            type = "event"
            quiet = true
            receive.PING = { do = "ping" }
            receive.BYE  = { do = "close" }
            send.pong  = "A"
            send.hello = "A"
            text.denied = "a"
            code.denied = "A"
            delivery = { envelope = "wrapped", message = "{data}" }
            [b]
            like = "a"
            quiet = false
            receive.BYE = { do = "ignore" }
            send.hello  = "B"
            code.limit  = "B"
            [c]
            like = "b"
            id = "of"
            delivery.timestamp = "at"
            text.denied = "c"
            "#,
        );
        let (whole, problems) = Settings::inherited(&written);
        assert_eq!(problems, []);
        assert_eq!(whole["a"], written["a"]);
        let c = &whole["c"];
        assert_eq!((c.type_field.as_deref(), c.id.as_deref(), c.quiet), (Some("event"), Some("of"), Some(false)));
        assert_eq!(c.receive["PING"], written["a"].receive["PING"]);
        assert_eq!(c.receive["BYE"], written["b"].receive["BYE"]);
        assert_eq!((&c.send.pong, &c.send.hello), (&Some(json!("A")), &Some(json!("B"))));
        assert_eq!((c.text["denied"].as_str(), c.code["denied"].as_str(), c.code["limit"].as_str()), ("c", "A", "B"));
        assert_eq!(c.delivery, written["c"].delivery, "replaced as a whole");
        assert!(super::super::Json::compile(c).is_ok());
    }

    #[test]
    fn names_that_lead_nowhere_are_told_once() {
        let (whole, problems) = Settings::inherited(&tables(
            "a.like = 'b'\nb.like = 'c'\nc.like = 'b'\nd.like = 'd'\nwell = {}\ne.like = 'wel'\nf.like = 'e'\ng.like = 'echo'",
        ));
        assert_eq!(whole.keys().collect::<Vec<_>>(), ["well"]);
        let told: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.path, p.what)).collect();
        assert_eq!(
            told,
            [
                "b.like: a circle: `b` is like `c` is like `b`",
                "c.like: a circle: `c` is like `b` is like `c`",
                "d.like: a circle: `d` is like `d`",
                "e.like: unknown dialect `wel`",
                "g.like: unknown dialect `echo`",
            ]
        );
        assert_eq!(problems[3].hint.as_deref(), Some("did you mean `well`?"));
    }
}
