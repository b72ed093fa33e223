//! Who did what: structured records for those who must answer for it, payloads left out.
//!
//! One writer a process, as with the log. A record goes to the log, or as a line of JSON to a file of its own: a
//! thread writes it, so nobody waits for a disk, and what does not fit its queue is dropped, counted, and told in the
//! file by a record `gap`. The file is opened anew for each run of records, so that it may be rotated.

use super::one_line::one_line;
use super::{clock, limited};
use crate::model::iso8601;
use arc_swap::ArcSwapOption;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// `[audit]` of gateway.toml.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// `off`, `log`, or the path of a file, relative to gateway.toml. Takes a restart to change.
    pub target: String,
    /// Publishes, sends and broadcasts of the HTTP API too; they may be many. Takes a restart to change.
    pub publishes: bool,
}

impl Default for AuditSettings {
    fn default() -> AuditSettings {
        AuditSettings { target: "log".into(), publishes: false }
    }
}

/// What happened. Fields that do not apply are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record<'a> {
    /// `verb`, `join`, `reload`, `revocation`, `refused`.
    pub audit: &'a str,
    /// An API key's name, a route, `sighup`, a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'a str>,
    /// Whom it was about: `user u1`, `connection …`, `many`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<&'a str>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<&'a str>,
    /// `ok`, or the code of what went wrong.
    pub result: &'a str,
    /// How many it reached or changed; of `refused`: how many before it were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Generations of a reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

#[derive(Serialize)]
struct Stamped<'a> {
    at: String,
    #[serde(flatten)]
    record: &'a Record<'a>,
}

/// Records that wait for the disk at most.
const QUEUE_MAX: usize = 8_192;
/// How long a stopping process waits for the last ones.
const FLUSH_MS: u64 = 2_000;

/// Where the process's records go; `None`: nowhere.
static PROCESS: ArcSwapOption<Audit> = ArcSwapOption::const_empty();

/// Starts auditing. Once a process. Err: the file cannot be written.
pub fn start(settings: &AuditSettings, folder: &Path) -> io::Result<()> {
    PROCESS.store(Audit::open(settings, folder)?.map(Arc::new));
    Ok(())
}

/// Writes down what happened, if that is wanted; never waits.
pub fn audit(record: &Record<'_>) {
    if UNAUDITED.get() {
        return;
    }
    if let Some(audit) = &*PROCESS.load() {
        audit.record(record);
    }
}

thread_local! {
    static UNAUDITED: Cell<bool> = const { Cell::new(false) };
}

/// What `f` does on this thread happens to nobody: plugins' tests.
pub fn unaudited<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            UNAUDITED.set(self.0);
        }
    }
    let _restore = Restore(UNAUDITED.replace(true));
    f()
}

/// Whether publishes are to be written down.
pub fn audits_publishes() -> bool {
    PROCESS.load().as_ref().is_some_and(|audit| audit.publishes)
}

/// A reload: by whom (`file watch`, `sighup`, `key default`), from which generation to which; `faults`: 0 if it took.
pub fn audit_reload(who: &str, from: u64, to: u64, faults: usize) {
    let (result, count) = if faults == 0 { ("ok", None) } else { ("faults", Some(faults as u64)) };
    audit(&Record {
        audit: "reload",
        who: Some(who),
        result,
        count,
        from: Some(from),
        to: Some(to),
        ..Record::default()
    });
}

/// A subscription taken back after a reload, a changed row or token. `result`: `unsubscribe`, `disconnect` or `report`.
pub fn audit_revocation(app: &str, user: Option<&str>, connection: &str, channel: &str, result: &str) {
    let (connection, channel) = (Some(connection), Some(channel));
    audit(&Record { audit: "revocation", who: user, app: Some(app), channel, connection, result, ..Record::default() });
}

/// A join of a class marked `audit = true`.
pub fn audit_join(app: &str, user: Option<&str>, connection: &str, ip: std::net::IpAddr, channel: &str) {
    let (connection, channel, ip) = (Some(connection), Some(channel), ip.to_string());
    let record =
        Record { audit: "join", who: user, app: Some(app), channel, connection, result: "ok", ..Record::default() };
    audit(&Record { ip: Some(&ip), ..record });
}

/// Waits until what was recorded is in the file, within bounds; at the end of a process.
pub fn finish_audit() {
    if let Some(audit) = PROCESS.swap(None) {
        audit.flush(Duration::from_millis(FLUSH_MS));
    }
}

/// How many records were lost because the disk was too slow.
pub fn audit_dropped() -> u64 {
    PROCESS.load().as_ref().map_or(0, |audit| audit.dropped.load(Ordering::Relaxed))
}

/// One audit trail.
struct Audit {
    /// `None`: the log.
    file: Option<SyncSender<Line>>,
    dropped: Arc<AtomicU64>,
    publishes: bool,
}

enum Line {
    Text(Vec<u8>),
    /// Answers when everything before it is written.
    Flush(SyncSender<()>),
}

impl Audit {
    fn open(settings: &AuditSettings, folder: &Path) -> io::Result<Option<Audit>> {
        let dropped = Arc::default();
        let file = match settings.target.as_str() {
            "off" => return Ok(None),
            "log" => None,
            path => Some(writer(folder.join(path), Arc::clone(&dropped))?),
        };
        Ok(Some(Audit { file, dropped, publishes: settings.publishes }))
    }

    fn record(&self, r: &Record<'_>) {
        let Some(file) = &self.file else {
            tracing::info!(
                audit = r.audit,
                who = r.who,
                verb = r.verb,
                app = r.app,
                channel = r.channel,
                target = r.target,
                connectionId = r.connection,
                ip = r.ip,
                result = r.result,
                count = r.count,
                from = r.from,
                to = r.to,
                "audit"
            );
            return;
        };
        let line = serde_json::to_string(&Stamped { at: iso8601(clock().wall), record: r }).unwrap_or_default();
        let mut line = one_line(&line, false).into_owned().into_bytes();
        line.push(b'\n');
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = file.try_send(Line::Text(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self, patience: Duration) {
        let Some(file) = &self.file else { return };
        let (done, written) = sync_channel(1);
        if file.try_send(Line::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

/// Starts the thread that writes. The file is tried once now, so that a wrong path is told at the start.
fn writer(path: PathBuf, dropped: Arc<AtomicU64>) -> io::Result<SyncSender<Line>> {
    open(&path).map_err(|e| io::Error::new(e.kind(), format!("audit file {}: {e}", path.display())))?;
    let (file, lines) = sync_channel(QUEUE_MAX);
    std::thread::Builder::new().name("weir-audit".into()).spawn(move || write_all(&path, &lines, &dropped))?;
    Ok(file)
}

/// At once, or not at all: a pipe without a reader would hold the start up for ever. A name in a folder may become a pipe
/// at any time; a pipe without a name, such as `/dev/stdout`, was handed in and has a reader.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().create(true).append(true).mode(0o640).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    let handed_in = || kind.is_fifo() && std::fs::canonicalize(path).is_err();
    if !(kind.is_file() || kind.is_char_device() || handed_in()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if kind.is_fifo() {
        // Its reader may be slow: half a record would be worse than a late one, and only this thread waits.
        // SAFETY: the descriptor is open as long as `file` lives.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
    }
    Ok(file)
}

/// Ends with the last sender.
fn write_all(path: &Path, lines: &Receiver<Line>, dropped: &AtomicU64) {
    let mut told = 0;
    while let Ok(first) = lines.recv() {
        let (mut text, mut flushed): (Vec<u8>, Vec<SyncSender<()>>) = (Vec::new(), Vec::new());
        let mut take = |line: Line| match line {
            Line::Text(line) => text.extend_from_slice(&line),
            Line::Flush(done) => flushed.push(done),
        };
        take(first);
        lines.try_iter().take(QUEUE_MAX).for_each(&mut take);
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            let record = Record { audit: "gap", result: "dropped", count: Some(lost - told), ..Record::default() };
            text.extend(
                serde_json::to_vec(&Stamped { at: iso8601(clock().wall), record: &record }).unwrap_or_default(),
            );
            text.push(b'\n');
            told = lost;
        }
        if let Err(error) = open(path).and_then(|mut file| file.write_all(&text)) {
            let lines = text.iter().filter(|b| **b == b'\n').count() as u64;
            dropped.fetch_add(lines, Ordering::Relaxed);
            limited!(error, path = %path.display(), %error, lines, "audit records are lost");
        }
        for done in flushed {
            let _ = done.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(target: &str) -> AuditSettings {
        AuditSettings { target: target.into(), ..AuditSettings::default() }
    }

    #[test]
    fn a_record_is_a_line_of_json_in_a_file_that_may_be_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(&settings("audit.jsonl"), folder.path()).unwrap().unwrap();
        let path = folder.path().join("audit.jsonl");
        let write = |channel: &str| {
            let who = Some("key default");
            audit.record(&Record { audit: "verb", who, channel: Some(channel), result: "ok", ..Record::default() });
            audit.flush(Duration::from_secs(20));
        };
        write("a:b\n\"forged\"");
        let text = std::fs::read_to_string(&path).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((text.lines().count(), &record["channel"]), (1, &"a:b\n\"forged\"".into()));
        assert!(record["at"].as_str().unwrap().ends_with('Z') && record.get("count").is_none());
        std::fs::rename(&path, folder.path().join("audit.1")).unwrap();
        write("c");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn what_a_slow_disk_loses_is_counted_and_told() {
        let (file, lines) = sync_channel(1);
        let dropped: Arc<AtomicU64> = Arc::default();
        let audit = Audit { file: Some(file), dropped: Arc::clone(&dropped), publishes: false };
        for _ in 0..3 {
            audit.record(&Record { audit: "verb", result: "ok", ..Record::default() });
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        drop(audit);
        let path = tempfile::tempdir().unwrap().keep().join("audit");
        write_all(&path, &lines, &dropped);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() == 2 && text.contains(r#""audit":"gap","result":"dropped","count":2"#), "{text}");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_written_is_told_at_the_start() {
        let error = Audit::open(&settings("no/such/folder"), Path::new("/nowhere")).err().unwrap();
        assert!(error.to_string().starts_with("audit file /nowhere/no/such/folder: "), "{error}");
        assert!(Audit::open(&settings("off"), Path::new("")).unwrap().is_none());
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name is a C string that lives until the call is over.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(open(&path).is_err(), "without a reader");
        let _reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        assert_eq!(open(&path).unwrap_err().to_string(), "not a regular file");
        assert!(open(Path::new("/dev/null")).is_ok());
    }
}
