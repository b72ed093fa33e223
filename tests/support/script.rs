//! Reads a transcript: text → conversations of steps. Says nothing about whether they come true.
//!
//! ```text
//! # config: shipped                      shipped, or a folder in tests/config
//! # env: WS_TEST_USER_ID=u2              for the gateway; may be repeated
//! # listener: clinic                     where a path without `NAME:` goes; `main` if missing
//! # header: Authorization: Bearer key    sent with each HTTP step of the file that has no such header
//! # newcomer: /ws                        who must still be greeted at the end
//!
//! # a late subscriber gets what it missed        a title begins a conversation; all earlier clients have left
//! ann connects /ws?token={{jwt {"id":"u7"}}}     then `Name: value` lines for request headers
//! ann> {"type":"ping"}                           sends; indented lines continue the one above
//! ann< {"type":"pong","timestamp":"<iso>"}       must come next
//! ann<~ {"type":"pong"}                          must come, others may come before it
//! ann< raw {"type":"pong"}                       exact bytes
//! ann< nothing                                   nothing is on its way: a ping's pong comes next
//! ann< close 4001 Authentication failed
//! ann< http 401 {"error":"…"}                    the upgrade was answered so
//! ann< header Sec-WebSocket-Protocol: v1         of the upgrade's answer
//! ann< binary 00ff │ ann< pong hi │ ann< lost
//! ann sends binary 00ff │ ann pings hi │ ann closes 4999 bye │ ann drops
//! POST admin:/api/publish                        then header lines, `> ` or JSON for a body, and what is expected:
//! {"channel":"a:b","data":{}}
//! < 200 {"recipients":1}
//! < Content-Type: application/json
//! eventually GET /healthz                        asked again until it is so
//! gateway logs client_connected "userId":"u1"    waits for a line that holds each word
//! gateway stops │ gateway ends 0                 SIGTERM │ its exit code
//! gateway dies │ gateway starts                  SIGKILL │ again, with its files and its data, on new ports
//! gateway reads anew                             SIGHUP
//! gateway has channels/x.toml `old` → `new`      edits a file of its copy
//! ```

pub struct Transcript {
    pub config: String,
    pub environment: Vec<(String, String)>,
    pub listener: String,
    pub headers: Vec<(String, String)>,
    pub newcomer: Option<String>,
    pub conversations: Vec<Conversation>,
}

pub struct Conversation {
    pub title: String,
    pub steps: Vec<Step>,
}

/// One step, with its line.
pub struct Step {
    pub line: usize,
    pub text: String,
    pub does: Does,
}

pub type Pairs = Vec<(String, String)>;

pub enum Does {
    Connect { who: String, target: String, headers: Pairs },
    Send { who: String, text: String },
    Binary { who: String, hex: String },
    Ping { who: String, payload: String },
    Close { who: String, code: u16, reason: String },
    Drop { who: String },
    Expect { who: String, expected: Expected },
    Http(Exchange),
    Logs { words: Vec<String> },
    Stop,
    Die,
    Start,
    Ends { code: i32 },
    Reload,
    Edit { file: String, old: String, new: String },
}

pub enum Expected {
    /// `later`: others may come before it.
    Json {
        text: String,
        later: bool,
    },
    Raw(String),
    Binary(String),
    Pong(String),
    Close {
        code: u16,
        reason: String,
    },
    Http {
        status: u16,
        body: String,
    },
    Header {
        name: String,
        value: String,
    },
    Nothing,
    Lost,
}

pub struct Exchange {
    pub method: String,
    pub target: String,
    pub headers: Pairs,
    pub body: Option<String>,
    pub status: u16,
    /// Empty: any body.
    pub reply: String,
    pub reply_headers: Pairs,
    pub eventually: bool,
}

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"];

impl Transcript {
    /// `Err`: line and what is wrong with it.
    pub fn read(source: &str) -> Result<Transcript, String> {
        let mut transcript = Transcript {
            config: "shipped".to_string(),
            environment: Vec::new(),
            listener: "main".to_string(),
            headers: Vec::new(),
            newcomer: None,
            conversations: Vec::new(),
        };
        for (line, text) in joined(source) {
            let fail = |what: String| format!("{line}: {what}: {text}");
            if let Some(note) = text.strip_prefix('#') {
                transcript.note(note.trim()).map_err(fail)?;
                continue;
            }
            let Some(conversation) = transcript.conversations.last_mut() else {
                return Err(fail("a step before the first title".to_string()));
            };
            if let Some(Does::Http(exchange)) = conversation.steps.last_mut().map(|s| &mut s.does)
                && exchange.takes(&text).map_err(fail)?
            {
                continue;
            }
            if let (Some(Does::Connect { headers, .. }), Some(pair)) =
                (conversation.steps.last_mut().map(|s| &mut s.does), header(&text))
            {
                headers.push(pair);
                continue;
            }
            let does = step(&text).map_err(fail)?;
            conversation.steps.push(Step { line, text, does });
        }
        transcript.complete()
    }

    fn note(&mut self, note: &str) -> Result<(), String> {
        let setting = note.split_once(": ").filter(|_| self.conversations.is_empty());
        match setting {
            Some(("config", name)) => self.config = name.to_string(),
            Some(("env", pair)) => self.environment.push(split(pair, "=")?),
            Some(("listener", name)) => self.listener = name.to_string(),
            Some(("header", pair)) => self.headers.push(split(pair, ": ")?),
            Some(("newcomer", path)) => self.newcomer = Some(path.to_string()),
            _ => match self.conversations.last_mut().filter(|c| c.steps.is_empty()) {
                Some(conversation) => conversation.title = format!("{} {note}", conversation.title),
                None => self.conversations.push(Conversation { title: note.to_string(), steps: Vec::new() }),
            },
        }
        Ok(())
    }

    /// A conversation without steps, an exchange without an expectation: mistakes of the transcript.
    fn complete(self) -> Result<Transcript, String> {
        for conversation in &self.conversations {
            if conversation.steps.is_empty() {
                return Err(format!("no steps: {}", conversation.title));
            }
            for step in &conversation.steps {
                if matches!(&step.does, Does::Http(exchange) if exchange.status == 0) {
                    return Err(format!("{}: no `< STATUS` follows: {}", step.line, step.text));
                }
            }
        }
        match self.conversations.is_empty() {
            true => Err("no conversation".to_string()),
            false => Ok(self),
        }
    }
}

impl Exchange {
    /// Whether the line belongs to this request or its answer.
    fn takes(&mut self, text: &str) -> Result<bool, String> {
        if let Some(answer) = text.strip_prefix("< ") {
            let (first, rest) = answer.split_once(' ').unwrap_or((answer, ""));
            match first.parse() {
                Ok(status) if self.status == 0 => (self.status, self.reply) = (status, rest.trim().to_string()),
                Ok(_) => return Err("a second status".to_string()),
                Err(_) => self.reply_headers.push(split(answer, ":")?),
            }
            return Ok(true);
        }
        if self.status != 0 {
            return Ok(false);
        }
        if let Some(pair) = header(text).filter(|_| self.body.is_none()) {
            self.headers.push(pair);
            return Ok(true);
        }
        let marked = text.strip_prefix("> ").or((text == ">").then_some(""));
        let body = marked.or(text.starts_with(['{', '[']).then_some(text));
        if let (Some(body), None) = (body, &self.body) {
            self.body = Some(body.to_string());
            return Ok(true);
        }
        Err("expected a header, a body or `< STATUS`".to_string())
    }
}

/// The lines that are not empty, numbered from 1; indented ones joined to the line above.
fn joined(source: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in source.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        match lines.last_mut() {
            Some((_, above)) if line.starts_with(' ') => above.push_str(line.trim()),
            _ => lines.push((at + 1, line.trim_end().to_string())),
        }
    }
    lines
}

/// `Name: value`; a name begins with a capital and has no space.
fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(": ")?;
    let named = name.starts_with(|c: char| c.is_ascii_uppercase() || c == 'x') && !name.contains([' ', '{', '<', '>']);
    named.then(|| (name.to_string(), value.to_string()))
}

fn split(text: &str, at: &str) -> Result<(String, String), String> {
    let (a, b) = text.split_once(at).ok_or_else(|| format!("expected `{at}`"))?;
    Ok((a.trim().to_string(), b.trim().to_string()))
}

fn step(text: &str) -> Result<Does, String> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    if let Some(who) = first.strip_suffix('>') {
        return Ok(Does::Send { who: who.to_string(), text: rest.to_string() });
    }
    if let Some(who) = first.strip_suffix("<~") {
        return Ok(Does::Expect {
            who: who.to_string(),
            expected: Expected::Json { text: rest.to_string(), later: true },
        });
    }
    if let Some(who) = first.strip_suffix('<') {
        return Ok(Does::Expect { who: who.to_string(), expected: expected(rest)? });
    }
    if let Some(method) = METHODS.iter().find(|m| **m == first) {
        return Ok(Does::Http(exchange(method, rest, false)));
    }
    if first == "eventually" {
        let (method, target) = rest.split_once(' ').ok_or("expected a method and a path")?;
        return Ok(Does::Http(exchange(method, target, true)));
    }
    if first == "gateway" {
        return gateway(rest);
    }
    let who = first.to_string();
    let (verb, object) = rest.split_once(' ').unwrap_or((rest, ""));
    Ok(match verb {
        "connects" => Does::Connect { who, target: object.to_string(), headers: Vec::new() },
        "sends" if object.starts_with("binary ") => Does::Binary { who, hex: object["binary ".len()..].to_string() },
        "pings" => Does::Ping { who, payload: object.to_string() },
        "closes" => {
            let (code, reason) = code(if object.is_empty() { "1000" } else { object })?;
            Does::Close { who, code, reason }
        }
        "drops" => Does::Drop { who },
        _ => return Err(format!("no step is called `{verb}`")),
    })
}

fn expected(text: &str) -> Result<Expected, String> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.to_string();
    Ok(match kind {
        "raw" => Expected::Raw(rest),
        "binary" => Expected::Binary(rest),
        "pong" => Expected::Pong(rest),
        "nothing" => Expected::Nothing,
        "lost" => Expected::Lost,
        "close" => {
            let (code, reason) = code(&rest)?;
            Expected::Close { code, reason }
        }
        "http" => {
            let (status, body) = code(&rest)?;
            Expected::Http { status, body }
        }
        "header" => {
            let (name, value) = split(&rest, ":")?;
            Expected::Header { name, value }
        }
        _ => Expected::Json { text: text.to_string(), later: false },
    })
}

fn code(text: &str) -> Result<(u16, String), String> {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok((code.parse().map_err(|_| format!("not a code: {code}"))?, rest.to_string()))
}

fn exchange(method: &str, target: &str, eventually: bool) -> Exchange {
    Exchange {
        method: method.to_string(),
        target: target.to_string(),
        headers: Vec::new(),
        body: None,
        status: 0,
        reply: String::new(),
        reply_headers: Vec::new(),
        eventually,
    }
}

fn gateway(text: &str) -> Result<Does, String> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verb {
        "logs" => Ok(Does::Logs { words: words(rest) }),
        "stops" => Ok(Does::Stop),
        "dies" => Ok(Does::Die),
        "starts" => Ok(Does::Start),
        "ends" => Ok(Does::Ends { code: rest.parse().map_err(|_| "not an exit code")? }),
        "reads" => Ok(Does::Reload),
        "has" => {
            let parts: Vec<&str> = rest.split('`').collect();
            match parts[..] {
                [file, old, _, new, _] => {
                    Ok(Does::Edit { file: file.trim().to_string(), old: old.to_string(), new: new.to_string() })
                }
                _ => Err("expected FILE `old` → `new`".to_string()),
            }
        }
        _ => Err(format!("the gateway does not `{verb}`")),
    }
}

/// Words, or texts between backticks.
fn words(text: &str) -> Vec<String> {
    let parts = text.split('`').enumerate();
    parts
        .flat_map(
            |(n, part)| {
                if n % 2 == 1 { vec![part.to_string()] } else { part.split_whitespace().map(String::from).collect() }
            },
        )
        .collect()
}

#[test]
fn a_transcript_is_read_as_conversations() {
    let transcript = Transcript::read(
        "# config: echo\n# env: A=b=c\n\n# one\n# and the same\nann connects /ws\nCookie: a=1\nann> {\"a\":\n  1}\n\n# two\nPOST /x\nX-Y: z\n{\"b\":2}\n< 200 {}\n< Allow: GET\nann< close 1000 bye\n",
    )
    .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((transcript.config.as_str(), transcript.listener.as_str()), ("echo", "main"));
    assert_eq!(transcript.environment, [("A".to_string(), "b=c".to_string())]);
    let [one, two] = &transcript.conversations[..] else { panic!("two conversations") };
    assert_eq!((one.title.as_str(), one.steps.len(), two.steps.len()), ("one and the same", 2, 2));
    assert!(matches!(&one.steps[0].does, Does::Connect { headers, .. } if headers.len() == 1));
    assert!(matches!(&one.steps[1].does, Does::Send { text, .. } if text == "{\"a\":1}"));
    assert!(
        matches!(&two.steps[0].does, Does::Http(e) if e.status == 200 && e.headers.len() == 1 && e.reply_headers.len() == 1)
    );
    assert_eq!(two.steps[1].line, 17);
}

#[test]
fn a_mistake_in_a_transcript_is_told_with_its_line() {
    for (source, told) in [
        ("", "no conversation"),
        ("ann connects /", "1: a step before the first title: ann connects /"),
        ("# t", "no steps: t"),
        ("# t\nann dances", "2: no step is called `dances`: ann dances"),
        ("# t\nGET /\nann> x", "3: expected a header, a body or `< STATUS`: ann> x"),
        ("# t\nGET /", "2: no `< STATUS` follows: GET /"),
        ("# t\nann< close soon", "2: not a code: soon: ann< close soon"),
    ] {
        assert_eq!(Transcript::read(source).err().as_deref(), Some(told));
    }
}
