//! A gateway whose files are changed while somebody is connected.
//! In: what to write into which file. Out: its status, what its admin listener answers, what clients hear.

use super::client::{Client, Got, Reply, http};
use super::gateway::{Gateway, PATIENCE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use tungstenite::Message;

pub const ROOM: &str = "channels/room.toml";

/// A gateway on `tests/config/live`, and a client that was there before anything changed.
pub struct Live {
    pub gateway: Gateway,
    pub ann: Client,
}

impl Live {
    pub fn start(environment: &[(&str, &str)]) -> Live {
        let environment: Vec<_> = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let gateway = Gateway::start("live", &environment).unwrap();
        let ann = connect(&gateway);
        Live { gateway, ann }
    }

    /// Nothing is put in force but what is asked for.
    pub fn unwatched() -> Live {
        Live::start(&[("WEIR_RELOAD__WATCH", "off")])
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.gateway.file(file)
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(file), text).unwrap();
    }

    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no `{from}`");
        self.write(file, text.replace(from, to));
    }

    pub fn status(&self) -> Value {
        self.admin("GET", "/admin/config", &[]).1
    }

    pub fn admin(&self, method: &str, path: &str, headers: &[(String, String)]) -> (u16, Value) {
        let Reply { status, body, .. } =
            http(self.gateway.address("admin").unwrap(), method, path, headers, None).unwrap();
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// A POST with a JSON body.
    pub fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask_with(path, body, &[])
    }

    pub fn ask_with(&self, path: &str, body: &Value, headers: &[(String, String)]) -> (u16, Value) {
        let admin = self.gateway.address("admin").unwrap();
        let Reply { status, body, .. } = http(admin, "POST", path, headers, Some(&body.to_string())).unwrap();
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// A copy of the files in force, and what becomes of some of them: `(file, from, to)`.
    pub fn candidate(&self, edits: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("channels")).unwrap();
        for file in ["gateway.toml", ROOM] {
            fs::copy(self.path(file), folder.path().join(file)).unwrap();
        }
        for (file, from, to) in edits {
            let text = fs::read_to_string(folder.path().join(file)).unwrap();
            assert!(text.contains(from), "{file} has no `{from}`");
            fs::write(folder.path().join(file), text.replacen(from, to, 1)).unwrap();
        }
        folder
    }

    /// By the API; how many heard it.
    pub fn publish(&self, channel: &str, data: Value) -> u64 {
        let keys = [("authorization".to_string(), "Bearer dev-weir-api-key".to_string())];
        let (status, told) =
            self.ask_with("/api/publish", &json!({ "app": "room", "channel": channel, "data": data }), &keys);
        assert_eq!(status, 200, "{told}");
        told["recipients"].as_u64().unwrap()
    }

    /// What the files of this folder would change.
    pub fn plan(&self, candidate: &tempfile::TempDir) -> Value {
        let (status, plan) = self.ask("/admin/plan", &json!({ "candidate": candidate.path() }));
        assert_eq!(status, 200, "{plan:#}");
        plan
    }

    pub fn reload(&self) -> (u16, Value) {
        self.admin("POST", "/admin/reload", &[])
    }

    pub fn metric(&self, name: &str) -> f64 {
        let Value::String(text) = self.admin("GET", "/metrics", &[]).1 else { panic!("no metrics") };
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Asks for the status until it is as wanted.
    pub fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{status:#}\n{}", self.gateway.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for_generation(&self, number: u64) -> Value {
        self.wait(|status| status["generation"] == number)
    }

    /// Until a fault whose text holds `what` is told, with the first generation in force.
    pub fn wait_for_fault(&mut self, what: &str) {
        let status = self.wait(|status| status["last_reload"]["faults"].to_string().contains(what));
        assert_eq!((&status["generation"], &status["last_reload"]["result"]), (&json!(1), &json!("fault")), "{status}");
        assert_eq!(self.pong(), "first");
    }

    pub fn pong(&mut self) -> String {
        pong(&mut self.ann)
    }

    /// A newcomer is answered, and nobody panicked.
    pub fn end(self) {
        pong(&mut connect(&self.gateway));
        assert_eq!(self.gateway.panics(), None);
    }
}

pub fn connect(gateway: &Gateway) -> Client {
    let client = Client::connect(gateway.address("main").unwrap(), "/room", &[]).unwrap();
    assert_eq!(client.upgrade.status, 101, "{:?}", client.upgrade);
    client
}

pub fn say(client: &mut Client, message: Value) {
    client.send(Message::text(message.to_string())).unwrap();
}

pub fn hear(client: &mut Client) -> Value {
    match client.next().unwrap() {
        Got::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub fn subscribe(client: &mut Client, channel: &str) {
    say(client, json!({ "type": "sub", "channel": channel }));
    assert_eq!(hear(client), json!({ "type": "ok", "channel": channel }));
}

pub fn publish(client: &mut Client, channel: &str, data: Value) {
    say(client, json!({ "type": "pub", "channel": channel, "data": data }));
}

pub fn pong(client: &mut Client) -> String {
    say(client, json!({ "type": "ping" }));
    let told = hear(client);
    assert_eq!(told["type"], "pong", "{told}");
    told["answer"].as_str().unwrap().to_owned()
}

impl Live {
    /// Whatever happened: the next good edit is in force in the end.
    pub fn end_after(self, answer: &str, good: &str) {
        let text = good.replace("\"first\"", &format!("{answer:?}"));
        self.write(ROOM, &text);
        let file = self.path(ROOM).display().to_string();
        self.wait(|status| status["files"][&file] == hex(&text));
        assert_eq!(pong(&mut connect(&self.gateway)), answer);
        self.end();
    }
}

pub fn hex(text: impl AsRef<[u8]>) -> String {
    Sha256::digest(text.as_ref()).iter().map(|b| format!("{b:02x}")).collect()
}
