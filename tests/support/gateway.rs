//! The real binary, started on a copy of a configuration folder with every port replaced by a free one.
//! In: a folder's name, environment. Out: the addresses that the gateway says it listens on, its output, its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// No wait of these tests is longer; none is meant to come near it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    output: Arc<Output>,
    addresses: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    /// What it wrote before it was started again.
    before: String,
}

/// Every line that the gateway has written so far.
#[derive(Default)]
struct Output {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// Of stdout and stderr, those at their end.
    ended: usize,
}

impl Output {
    fn follow(self: &Arc<Output>, stream: impl Read + Send + 'static) {
        let output = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                output.written.lock().unwrap().lines.push(line);
                output.more.notify_all();
            }
            output.written.lock().unwrap().ended += 1;
            output.more.notify_all();
        });
    }

    /// Waits until `wanted` finds something in the lines; `None` where it never will.
    fn wait<T>(&self, mut wanted: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        let mut written = self.written.lock().unwrap();
        loop {
            if let Some(found) = wanted(&written.lines) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now()).filter(|_| written.ended < 2)?;
            written = self.more.wait_timeout(written, left).unwrap().0;
        }
    }
}

impl Gateway {
    /// `config`: `shipped`, or a folder in `tests/config`.
    pub fn start(config: &str, environment: &[(String, String)]) -> Result<Gateway, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let from = match config {
            "shipped" => root.to_path_buf(),
            name => root.join("tests/config").join(name),
        };
        Gateway::start_copy(&from, environment)
    }

    /// Files written by the test: their names below the configuration's folder, and their texts.
    pub fn start_files(files: &[(&str, &str)], environment: &[(String, String)]) -> Result<Gateway, String> {
        let from = tempfile::tempdir().map_err(|e| e.to_string())?;
        for (name, text) in files {
            let path = from.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(from.path())).map_err(|e| e.to_string())?;
            fs::write(path, text).map_err(|e| e.to_string())?;
        }
        Gateway::start_copy(from.path(), environment)
    }

    fn start_copy(from: &Path, environment: &[(String, String)]) -> Result<Gateway, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let listeners = copy(from, folder.path()).map_err(|e| format!("{}: {e}", from.display()))?;
        let (child, output) = spawn(folder.path(), environment)?;
        let (addresses, environment, before) = (BTreeMap::new(), environment.to_vec(), String::new());
        let mut gateway = Gateway { child, folder, output, addresses, environment, before };
        gateway.addresses = gateway.read_addresses(listeners)?;
        Ok(gateway)
    }

    /// Ends it at once, whatever it is doing.
    pub fn die(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(|e| e.to_string())
    }

    /// Starts it again where it was: its files, its data; its ports are others.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.die()?;
        self.before = self.output();
        (self.child, self.output) = spawn(self.folder.path(), &self.environment)?;
        self.addresses = self.read_addresses(self.addresses.len())?;
        Ok(())
    }

    /// The lines `weir: listening NAME ADDRESS:PORT`, as many as there are listeners.
    fn read_addresses(&mut self, listeners: usize) -> Result<BTreeMap<String, String>, String> {
        let found = self.output.wait(|lines| {
            let said = lines.iter().filter_map(|l| l.strip_prefix("weir: listening ")?.split_once(' '));
            let said: BTreeMap<_, _> = said.map(|(name, at)| (name.to_string(), at.trim().to_string())).collect();
            (said.len() >= listeners).then_some(said)
        });
        found.ok_or_else(|| format!("the gateway did not start:\n{}", self.output()))
    }

    pub fn address(&self, listener: &str) -> Result<&str, String> {
        let known = || self.addresses.keys().cloned().collect::<Vec<_>>().join(", ");
        self.addresses.get(listener).map(String::as_str).ok_or_else(|| format!("no listener {listener}: {}", known()))
    }

    pub fn listeners(&self) -> impl Iterator<Item = &str> {
        self.addresses.keys().map(String::as_str)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn output(&self) -> String {
        format!("{}{}", self.before, self.output.written.lock().unwrap().lines.join("\n"))
    }

    /// Waits for a line of the log that holds every one of `words`.
    pub fn wait_for_log(&self, words: &[&str]) -> Result<(), String> {
        let found = self.output.wait(|lines| lines.iter().find(|l| words.iter().all(|w| l.contains(w))).map(drop));
        found.ok_or_else(|| format!("no line of the log holds {words:?}:\n{}", self.output()))
    }

    /// Bytes of its memory: resident now (`VmRSS`), or at most so far (`VmHWM`).
    pub fn memory(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<usize>().ok()).unwrap_or(0) << 10
    }

    /// `SIGTERM` or `SIGHUP`.
    pub fn signal(&self, signal: libc::c_int) -> Result<(), String> {
        // Its own child, not yet waited for: the id cannot belong to another process.
        match unsafe { libc::kill(self.child.id() as libc::pid_t, signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().to_string()),
        }
    }

    /// The exit code after a `SIGTERM`.
    pub fn wait_for_end(&mut self) -> Result<Option<i32>, String> {
        let (end, child) = (Instant::now() + PATIENCE, &mut self.child);
        loop {
            match child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => return Ok(status.code()),
                None if Instant::now() > end => return Err(format!("still running:\n{}", self.output())),
                None => thread::yield_now(),
            }
        }
    }

    /// A panic is a mistake of ours whatever else went well.
    pub fn panics(&self) -> Option<String> {
        let output = self.output();
        output.contains("panicked at").then_some(output)
    }
}

fn spawn(folder: &Path, environment: &[(String, String)]) -> Result<(Child, Arc<Output>), String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["run", "-c"])
        .arg(folder.join("gateway.toml"))
        .current_dir(folder)
        .env_clear()
        // A machine with much else to do is no endless loop: a call that is not one has time to end.
        .env("WEIR_SCRIPT__DEADLINE", "5s")
        .env("WEIR_SCRIPT__READ_WAIT", "2s")
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let output = Arc::new(Output::default());
    output.follow(child.stdout.take().unwrap());
    output.follow(child.stderr.take().unwrap());
    Ok((child, output))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies what a gateway reads; ports become 0. Returns the number of listeners.
fn copy(from: &Path, to: &Path) -> std::io::Result<usize> {
    let settings = fs::read_to_string(from.join("gateway.toml"))?;
    let (mut listeners, mut free) = (0, String::new());
    for line in settings.lines() {
        listeners += usize::from(line.starts_with("[listener."));
        match line.split_once('=') {
            Some((key, value)) if key.trim() == "address" => {
                let host = value.split('"').nth(1).and_then(|a| a.rsplit_once(':')).map_or("127.0.0.1", |(h, _)| h);
                free.push_str(&format!("{key}= \"{host}:0\""));
            }
            _ => free.push_str(line),
        }
        free.push('\n');
    }
    fs::write(to.join("gateway.toml"), free)?;
    for folder in ["channels", "plugins", "keys", "tls"] {
        if from.join(folder).is_dir() {
            copy_all(&from.join(folder), &to.join(folder))?;
        }
    }
    Ok(listeners)
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy_all(&path, &target)?,
            false => fs::copy(&path, &target).map(drop)?,
        }
    }
    Ok(())
}
