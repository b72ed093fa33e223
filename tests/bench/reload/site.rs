//! The gateway under load: its files, its process, its admin listener.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Apps beside the one with the traffic: a reload reads and compiles them too.
const OTHER_APPS: usize = 9;

pub struct Site {
    folder: tempfile::TempDir,
    gateway: Child,
    addresses: BTreeMap<String, SocketAddr>,
    edit: u64,
    closed: bool,
}

const GATEWAY: &str = r#"mode = "development"
[listener.main]
address = "127.0.0.1:0"
[listener.admin]
address = "127.0.0.1:0"
admin   = true
[api_key.default]
secret = { env = "WEIR_API_KEY" }
[limits]
connections        = 100_000
connections_per_ip = 100_000
messages           = { burst = 1_000_000, per = "1s" }
messages_per_user  = { burst = 1_000_000, per = "1s" }
[log]
level = "warn"
[audit]
target = "off"
"#;

/// `EDIT` and `MAY` are filled in.
const APP: &str = r#"listener = "main"
[[endpoint]]
path    = "/NAME"
dialect = "mini"
[dialect.mini]
type = "op"
receive.sub  = { do = "subscribe", channel = "ch" }
receive.pub  = { do = "publish", channel = "ch", data = "data" }
receive.ping = { do = "ping" }
send.subscribed = { op = "subbed", ch = "{channel}" }
send.pong       = { op = "pong", answer = "EDIT" }
send.revoked    = { op = "revoked", ch = "{channel}" }
send.error      = { op = "error", message = "{error.message}" }
delivery = { envelope = "raw" }
[table.rows]
file = "data/rows.json"
[[channel]]
name      = "open:{id}"
subscribe = '!user.known || tables.rows[id].open'
publish   = "true"
[[channel]]
name      = "closing:{id}"
subscribe = 'MAY'
publish   = "true"
"#;

impl Site {
    /// Starts `bin` on files of its own. `None`: it did not say where it listens.
    pub fn start(bin: &Path) -> Option<Site> {
        let folder = tempfile::tempdir().ok()?;
        fs::create_dir_all(folder.path().join("channels/data")).ok()?;
        let site = Site::files(folder.path(), 0, false);
        for (path, text) in &site {
            fs::write(path, text).ok()?;
        }
        let mut gateway = Command::new(bin)
            .args(["run", "-c"])
            .arg(folder.path().join("gateway.toml"))
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .ok()?;
        let (mut addresses, mut lines) = (BTreeMap::new(), BufReader::new(gateway.stdout.take()?).lines());
        while addresses.len() < 2 {
            let line = lines.next()?.ok()?;
            let said = line.strip_prefix("weir: listening ").and_then(|rest| rest.split_once(' '));
            addresses.extend(said.and_then(|(name, at)| Some((name.to_owned(), at.trim().parse().ok()?))));
        }
        // What it writes from here on never fills the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Site { folder, gateway, addresses, edit: 0, closed: false })
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    fn files(folder: &Path, edit: u64, closed: bool) -> Vec<(PathBuf, String)> {
        let mark = format!("# edit {edit}\n");
        let mut files = vec![
            (folder.join("gateway.toml"), mark.clone() + GATEWAY),
            (folder.join("channels/data/rows.json"), format!("{{\"1\":{{\"open\":true,\"edit\":{edit}}}}}")),
        ];
        let may = if closed { "user.known && user.id == id" } else { "!user.known || user.id == id" };
        for n in 0..=OTHER_APPS {
            let name = if n == 0 { "bench".to_owned() } else { format!("other{n}") };
            let text = APP.replace("NAME", &name).replace("EDIT", &format!("edit {edit}")).replace("MAY", may);
            files.push((folder.join(format!("channels/{name}.toml")), mark.clone() + &text));
        }
        files
    }

    /// Changes every file. Returns what a pong says once they are in force.
    pub fn edit_all(&mut self) -> String {
        self.edit += 1;
        self.write(|_| true)
    }

    /// Changes the app's own file alone.
    pub fn edit_one(&mut self) -> String {
        self.edit += 1;
        self.write(|path| path.ends_with("channels/bench.toml"))
    }

    /// Nobody may hear `closing:*` any more.
    pub fn close(&mut self) -> String {
        self.closed = true;
        self.edit_one()
    }

    fn write(&self, wanted: impl Fn(&Path) -> bool) -> String {
        let files = Site::files(self.folder.path(), self.edit, self.closed);
        for (path, text) in files.iter().filter(|(path, _)| wanted(path)) {
            // As most editors save.
            let next = path.with_extension("next");
            fs::write(&next, text).and_then(|()| fs::rename(&next, path)).expect("the files can be written");
        }
        format!("edit {}", self.edit)
    }

    /// Status and body.
    pub fn ask(admin: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some((status, text.split_once("\r\n\r\n")?.1.to_owned()))
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = Site::ask(self.address("admin"), "GET", "/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
    }
}
