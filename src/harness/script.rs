//! Reads a test file: text → conversations of steps. Says nothing about whether they come true.
//!
//! ```text
//! app clinic                                first line, where the file's name does not say whose plugin it tests
//!
//! # a ticket is called                      a title begins a test, on a clean stage
//! at 2026-03-01T09:00:00Z                   the clock; later in a test it goes on to there
//! set {"ring_ms": 500}                      other `[settings]` for this test
//! ann connects /ws {"id":"u1","role":"x"}   who she is; without it anonymous
//! ann upgrades /ws?token=x                  the same by a request, whose tokens, origin and bounds are judged; then header
//!                                           lines, or `from 192.0.2.1`; `< 101`, or what refuses her
//! ann> {"type":"ping"}                      sends; indented lines continue the one above
//! ann< {"type":"pong","timestamp":"<iso>"}  must come next
//! ann<~ {"type":"pong"}                     must have come, whatever came before it
//! ann< raw TEXT │ ann< nothing │ ann< closed 4001 "reason"
//! ann closes │ ann disconnects              with a close frame │ without
//! ann stalls │ ann reads                    reads nothing from now on │ reads again
//! POST /tickets {"name":"x"}                a route; then header lines, `as ann`, `as {"id":"u1"}` or `as nobody`, or a
//!                                           body on a line of its own: JSON, or any text behind `> `
//! < 200 {"id":"<uuid>"}                     and what it answers
//! < X-Thing: value
//! publish clinic:c1:queue {"n":1} event NAME    as a back end would
//! refused CODE "text"                       the publish just made was refused
//! after 30s                                 the clock goes on, timers fire
//! state queue:c1 {…} │ store KEY {…}        `none`: there is none
//! webhook NAME {…}                          a webhook's call asked for, in order
//! log "text"                                a handler printed something that holds it
//! fault "text"                              a handler failed so
//! ```

use crate::model::{Millis, Ms};
use std::net::IpAddr;

/// A test file.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Whose it is, where it says so.
    pub app: Option<String>,
    pub conversations: Vec<Conversation>,
}

/// One test.
#[derive(Debug)]
pub struct Conversation {
    pub line: u32,
    pub title: String,
    pub(super) steps: Vec<Step>,
}

/// One step, with its line.
#[derive(Debug)]
pub(super) struct Step {
    pub line: u32,
    pub text: String,
    pub does: Does,
}

/// A line that is no step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    pub line: u32,
    pub what: String,
}

/// JSON stays text: it may name what was captured.
#[derive(Debug, PartialEq)]
pub(super) enum Does {
    At(Millis),
    Set(String),
    Connect {
        who: String,
        target: String,
        identity: String,
    },
    Send {
        who: String,
        text: String,
    },
    Hear {
        who: String,
        expected: Expected,
    },
    Closes(String),
    Disconnects(String),
    /// It reads nothing from now on, or reads again.
    Stalls {
        who: String,
        stalled: bool,
    },
    Web(Exchange),
    Publish {
        channel: String,
        data: String,
        event: Option<String>,
    },
    Refused {
        code: String,
        text: Option<String>,
    },
    After(u64),
    State {
        entity: String,
        expected: Option<String>,
    },
    Store {
        key: String,
        expected: Option<String>,
    },
    Webhook {
        name: String,
        body: String,
    },
    Log(String),
    Fault(String),
}

#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    /// `later`: others may have come before it.
    Json {
        text: String,
        later: bool,
    },
    Raw(String),
    Closed {
        code: u16,
        reason: Option<String>,
    },
    Nothing,
}

/// A request to a route, or to become a WebSocket, and its answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Exchange {
    /// Who becomes a client by it.
    pub upgrades: Option<String>,
    /// Where that one comes from.
    pub from: Option<IpAddr>,
    pub method: String,
    pub target: String,
    pub body: String,
    pub headers: Vec<(String, String)>,
    pub caller: Option<String>,
    /// 0: not yet said.
    pub status: u16,
    /// Empty: any.
    pub reply: String,
    pub reply_headers: Vec<(String, String)>,
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

impl Transcript {
    /// Err: all lines that are no steps.
    pub fn read(source: &str) -> Result<Transcript, Vec<Mistake>> {
        let (mut transcript, mut mistakes) = (Transcript::default(), Vec::new());
        let mut blank = true;
        let mut lines: Vec<(u32, String)> = Vec::new();
        for (line, text) in (1..).zip(source.lines()) {
            let begins = blank;
            blank = text.trim().is_empty();
            if blank {
                continue;
            }
            if let Some(title) = text.strip_prefix('#') {
                transcript.steps(std::mem::take(&mut lines), &mut mistakes);
                transcript.title(line, title.trim(), begins);
            } else if text.starts_with([' ', '\t'])
                && let Some((_, above)) = lines.last_mut()
            {
                above.push('\n');
                above.push_str(text.trim());
            } else {
                lines.push((line, text.trim_end().to_owned()));
            }
        }
        transcript.steps(lines, &mut mistakes);
        transcript.complete(&mut mistakes);
        mistakes.sort_by_key(|mistake| mistake.line);
        if mistakes.is_empty() { Ok(transcript) } else { Err(mistakes) }
    }

    /// A line after `#` that follows an empty line begins a test; others go on with what stands above, or remark on it.
    fn title(&mut self, line: u32, title: &str, begins: bool) {
        match self.conversations.last_mut() {
            Some(last) if !begins && last.steps.is_empty() => last.title = format!("{} {title}", last.title),
            Some(last) if !begins && !last.steps.is_empty() => {}
            _ => self.conversations.push(Conversation { line, title: title.to_owned(), steps: Vec::new() }),
        }
    }

    fn steps(&mut self, lines: Vec<(u32, String)>, mistakes: &mut Vec<Mistake>) {
        // What follows a broken request belongs to it until a step is read again: nothing of it is a mistake of its own.
        let mut lost = false;
        for (line, text) in lines {
            let mut mistake = |what: String| mistakes.push(Mistake { line, what: format!("{what}: {text}") });
            let Some(conversation) = self.conversations.last_mut() else {
                match text.strip_prefix("app ") {
                    Some(name) => self.app = Some(name.trim().to_owned()),
                    None => mistake("a step before the first `# title`".into()),
                }
                continue;
            };
            if let Some(Does::Web(exchange)) = conversation.steps.last_mut().map(|step| &mut step.does)
                && !lost
            {
                match exchange.takes(&text) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(what) => {
                        lost = true;
                        mistake(what);
                        continue;
                    }
                }
            }
            match step(&text) {
                Ok(does) => conversation.steps.push(Step { line, text: text.clone(), does }),
                Err(_) if lost => continue,
                Err(what) => mistake(what),
            }
            lost = false;
        }
    }

    /// Remarks at the head of the file are no test; else a test without steps is a mistake, as is a request whose answer
    /// nobody looks at. A test that has a mistake already may be the one and the other because of it.
    fn complete(&mut self, mistakes: &mut Vec<Mistake>) {
        if self.conversations.len() > 1 && self.conversations[0].steps.is_empty() {
            self.conversations.remove(0);
        }
        if self.conversations.is_empty() && mistakes.is_empty() {
            let what = "no test: a title such as `# a ticket is called` begins one";
            mistakes.push(Mistake { line: 0, what: what.into() });
        }
        let ends = self.conversations.iter().skip(1).map(|next| next.line).chain([u32::MAX]);
        for (Conversation { line, title, steps }, end) in self.conversations.iter().zip(ends) {
            if mistakes.iter().any(|mistake| (*line..end).contains(&mistake.line)) {
                continue;
            }
            if steps.is_empty() {
                mistakes.push(Mistake { line: *line, what: format!("a test without steps: {title}") });
            }
            let open = |step: &&Step| matches!(&step.does, Does::Web(exchange) if exchange.status == 0);
            let open = steps.iter().filter(open);
            mistakes.extend(
                open.map(|step| Mistake { line: step.line, what: format!("no `< STATUS` follows: {}", step.text) }),
            );
        }
    }
}

impl Exchange {
    /// Whether the line belongs to this request or its answer.
    fn takes(&mut self, text: &str) -> Result<bool, String> {
        if let Some(answer) = text.strip_prefix("< ") {
            let (first, rest) = words(answer);
            match first.parse::<u16>() {
                Ok(status) if self.status == 0 => (self.status, self.reply) = (status, rest.to_owned()),
                Ok(_) => return Err("a second status".into()),
                Err(_) => self.reply_headers.push(header(answer).ok_or("expected `< STATUS` or `< Name: value`")?),
            }
            return Ok(true);
        }
        if self.status != 0 {
            return Ok(false);
        }
        if let Some(caller) = text.strip_prefix("as ") {
            self.caller = Some(caller.trim().to_owned());
        } else if let (Some(address), Some(_)) = (text.strip_prefix("from "), &self.upgrades) {
            let address = address.trim().parse().map_err(|_| "expected `from ADDRESS`, such as 192.0.2.1")?;
            self.from = Some(address);
        } else if let Some(pair) = header(text) {
            self.headers.push(pair);
        } else if let Some(body) = text.strip_prefix("> ").or(text.starts_with(['{', '[']).then_some(text))
            && self.body.is_empty()
        {
            self.body = body.to_owned();
        } else {
            return Err("expected `as WHO`, a header, a body or `< STATUS`".into());
        }
        Ok(true)
    }
}

/// `Name: value`; a name begins with a capital or `x-` and has no space.
fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(": ")?;
    let named = name.starts_with(|c: char| c.is_ascii_uppercase() || c == 'x') && !name.contains([' ', '{', '"', '<']);
    named.then(|| (name.to_owned(), value.trim().to_owned()))
}

/// The first word, and what follows it.
fn words(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim()),
        None => (text, ""),
    }
}

fn step(text: &str) -> Result<Does, String> {
    let (first, rest) = words(text);
    let who = |name: &str| name.to_owned();
    if let Some(name) = first.strip_suffix('>') {
        return Ok(Does::Send { who: who(name), text: rest.to_owned() });
    }
    if let Some(name) = first.strip_suffix("<~") {
        return Ok(Does::Hear { who: who(name), expected: Expected::Json { text: rest.to_owned(), later: true } });
    }
    if let Some(name) = first.strip_suffix('<') {
        return Ok(Does::Hear { who: who(name), expected: expected(rest)? });
    }
    if METHODS.contains(&first) {
        let (target, body) = words(rest);
        let (method, target, body) = (first.to_owned(), target.to_owned(), body.to_owned());
        return Ok(Does::Web(Exchange { method, target, body, ..Exchange::default() }));
    }
    Ok(match (first, words(rest)) {
        ("at", (time, "")) => Does::At(self::time(time)?),
        ("after", (wait, "")) => Does::After(duration(wait).ok_or("expected a duration such as `30s`")?),
        ("set", _) => Does::Set(rest.to_owned()),
        ("publish", (channel, data)) => {
            let (data, event) = match data.rsplit_once(" event ") {
                Some((data, event)) if !event.contains(['}', '"', ' ']) => (data.trim(), Some(event.to_owned())),
                _ => (data, None),
            };
            Does::Publish { channel: channel.to_owned(), data: data.to_owned(), event }
        }
        ("refused", (code, said)) => {
            Does::Refused { code: code.to_owned(), text: (!said.is_empty()).then(|| unquoted(said)) }
        }
        ("state", (entity, value)) => Does::State { entity: entity.to_owned(), expected: some(value) },
        ("store", (key, value)) => Does::Store { key: key.to_owned(), expected: some(value) },
        ("webhook", (name, body)) => Does::Webhook { name: name.to_owned(), body: body.to_owned() },
        ("log", _) => Does::Log(unquoted(rest)),
        ("fault", _) => Does::Fault(unquoted(rest)),
        (name, ("connects", rest)) => {
            let (target, identity) = words(rest);
            Does::Connect { who: who(name), target: target.to_owned(), identity: identity.to_owned() }
        }
        (name, ("upgrades", target)) if target.starts_with('/') => {
            let (method, target, upgrades) = ("GET".to_owned(), target.to_owned(), Some(who(name)));
            Does::Web(Exchange { method, target, upgrades, ..Exchange::default() })
        }
        (name, ("closes", "")) => Does::Closes(who(name)),
        (name, ("disconnects", "")) => Does::Disconnects(who(name)),
        (name, ("stalls", "")) => Does::Stalls { who: who(name), stalled: true },
        (name, ("reads", "")) => Does::Stalls { who: who(name), stalled: false },
        _ => return Err("this is no step".into()),
    })
}

fn some(value: &str) -> Option<String> {
    (value != "none").then(|| value.to_owned())
}

fn expected(text: &str) -> Result<Expected, String> {
    let (first, rest) = words(text);
    Ok(match first {
        "raw" => Expected::Raw(rest.to_owned()),
        "nothing" if rest.is_empty() => Expected::Nothing,
        "closed" => {
            let (code, reason) = words(rest);
            let code = code.parse().map_err(|_| "expected `closed CODE` or `closed CODE \"reason\"`")?;
            Expected::Closed { code, reason: (!reason.is_empty()).then(|| unquoted(reason)) }
        }
        _ => Expected::Json { text: text.to_owned(), later: false },
    })
}

fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())
}

fn time(text: &str) -> Result<Millis, String> {
    let at: jiff::Timestamp = text.parse().map_err(|_| "expected a time such as `2026-03-01T09:00:00Z`")?;
    u64::try_from(at.as_millisecond()).map_err(|_| "a time before 1970".into())
}

/// `30s`, `1h30m`: quantities behind each other.
fn duration(text: &str) -> Option<u64> {
    let (mut sum, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let unit = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let end = rest[unit..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| unit + at);
        sum = sum.checked_add(Ms::parse(&rest[..end])?.0)?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_conversations() {
        let file = "# remarks about it all\n# on two lines\n\n# one\n# and the same\nann connects /ws {\"id\":\"u1\"}\n# a remark\nann> {\"a\":\n  1}\n\n# two\nPOST /x {\"b\":2}\nas ann\nX-Y: z\n< 200 {}\n< Allow: GET\nann< closed 4001 \"bye\"\n";
        let read = Transcript::read(file).unwrap();
        let [one, two] = &read.conversations[..] else { panic!("two conversations: {read:?}") };
        assert_eq!((one.title.as_str(), one.line, one.steps.len(), two.steps.len()), ("one and the same", 4, 2, 2));
        let Does::Send { text, .. } = &one.steps[1].does else { panic!() };
        assert_eq!(text, "{\"a\":\n1}");
        let Does::Web(web) = &two.steps[0].does else { panic!() };
        assert_eq!((web.body.as_str(), web.caller.as_deref(), web.status), ("{\"b\":2}", Some("ann"), 200));
        assert_eq!((web.headers.len(), web.reply_headers.len(), two.steps[1].line), (1, 1, 17));
    }

    #[test]
    fn the_app_may_be_named_first() {
        assert_eq!(Transcript::read("app clinic\n\n# t\nafter 1h30m\n").unwrap().app.as_deref(), Some("clinic"));
        assert_eq!(
            (duration("1h30m"), duration("250ms"), duration("5"), duration("")),
            (Some(5_400_000), Some(250), None, None)
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (source, line, told) in [
            ("", 0, "no test: a title such as `# a ticket is called` begins one"),
            ("ann connects /", 1, "a step before the first `# title`: ann connects /"),
            ("# t", 1, "a test without steps: t"),
            ("# t\nann dances", 2, "this is no step: ann dances"),
            ("# t\nGET /\nann> x", 3, "expected `as WHO`, a header, a body or `< STATUS`: ann> x"),
            ("# t\nGET /", 2, "no `< STATUS` follows: GET /"),
            ("# t\nann< closed soon", 2, "expected `closed CODE` or `closed CODE \"reason\"`: ann< closed soon"),
            ("# t\nafter lunch", 2, "expected a duration such as `30s`: after lunch"),
        ] {
            let mistakes = Transcript::read(source).unwrap_err();
            assert_eq!(mistakes, [Mistake { line, what: told.to_owned() }]);
        }
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_and_none_that_follows_from_another() {
        let file = "# one\nann dances\n\n# two\nGET /\nmaybe\n> {}\n< 200\nann> {}\nafter lunch\n\n# three\nGET /\nGET /x\n< 200\n";
        let told: Vec<_> = Transcript::read(file).unwrap_err().into_iter().map(|m| (m.line, m.what)).collect();
        let expected = [
            (2, "this is no step: ann dances"),
            (6, "expected `as WHO`, a header, a body or `< STATUS`: maybe"),
            (10, "expected a duration such as `30s`: after lunch"),
            (14, "expected `as WHO`, a header, a body or `< STATUS`: GET /x"),
        ];
        assert_eq!(told, expected.map(|(line, what)| (line, what.to_owned())));
    }
}
