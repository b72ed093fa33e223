//! Reads the files of a configuration: bounded, and remembered for the digest.

use super::inputs::{self, Inputs, Unread};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration's folder: `gateway.toml` and everything that it names.
pub struct Files {
    root: PathBuf,
    inputs: RefCell<Inputs>,
    secret: RefCell<BTreeSet<PathBuf>>,
}

/// The largest TOML file.
pub const TOML_BYTES_MAX: u64 = 1 << 20;
/// The largest data file: a table's rows, a key set, a certificate.
pub const DATA_BYTES_MAX: u64 = 64 << 20;
/// The largest file that holds a secret.
pub const SECRET_BYTES_MAX: u64 = 1 << 20;

impl Files {
    pub fn new(root: impl Into<PathBuf>) -> Files {
        Files { root: root.into(), inputs: RefCell::default(), secret: RefCell::default() }
    }

    /// A path as files name it, relative to the folder, as the operator would open it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A file's bytes; the error completes the sentence "FILE …".
    pub fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        self.inputs.borrow_mut().looked_for(path, bytes_max);
        let bytes = inputs::read(path, bytes_max).map_err(|unread| match unread {
            Unread::Folder => "is a folder, not a file".to_owned(),
            Unread::Special => "is not a regular file".into(),
            Unread::Large => format!("is larger than {}", size(bytes_max)),
            Unread::Failed(error) => why(path, &error),
        })?;
        self.inputs.borrow_mut().was_read(path, Sha256::digest(&bytes).into());
        Ok(bytes)
    }

    /// As `read`, of what is shown to nobody: its digest would help to guess it.
    pub fn secret(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        self.secret.borrow_mut().insert(path.to_owned());
        self.read(path, bytes_max)
    }

    /// Those that were read as secrets.
    pub fn secrets(&self) -> BTreeSet<PathBuf> {
        self.secret.borrow().clone()
    }

    /// As `read`, of text. An empty one was cut short while it is saved, rather than meant.
    pub fn text(&self, path: &Path, bytes_max: u64) -> Result<String, String> {
        let text = String::from_utf8(self.read(path, bytes_max)?).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            format!("is not UTF-8 text (line {line})")
        })?;
        // Editors of another system begin a file with it.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        if text.trim().is_empty() { Err("is empty".into()) } else { Ok(text) }
    }

    /// The apps' files, sorted: visible names that end in `.toml`.
    pub fn apps(&self) -> Result<Vec<PathBuf>, String> {
        let folder = self.path("channels");
        self.inputs.borrow_mut().list(&folder, "toml").map_err(|e| why(&folder, &e))
    }

    /// Plugins' tests, sorted; none where there is no folder.
    pub fn tests(&self) -> Result<Vec<PathBuf>, String> {
        let folder = self.path("plugins");
        match self.inputs.borrow_mut().list(&folder, "test") {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(|e| format!("{} {}", folder.display(), why(&folder, &e))),
        }
    }

    /// All that was read, listed or looked for.
    pub fn inputs(&self) -> Inputs {
        self.inputs.borrow().clone()
    }

    /// SHA-256 over names and contents of everything read, in hex.
    pub fn digest(&self) -> Arc<str> {
        let mut all = Sha256::new();
        for (path, content) in self.inputs.borrow().contents() {
            let name = path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_encoded_bytes();
            all.update((name.len() as u64).to_be_bytes());
            all.update(name);
            all.update(content);
        }
        hex::encode(all.finalize()).into()
    }

    /// Every file read and the SHA-256 of its content in hex: for the watch and for the status.
    pub fn seen(&self) -> BTreeMap<PathBuf, String> {
        self.inputs.borrow().contents().map(|(path, content)| (path.clone(), hex::encode(content))).collect()
    }
}

/// Why a path could not be read or written; completes the sentence "FILE …".
pub(super) fn why(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => match std::fs::read_link(path) {
            Ok(target) => format!("is a link to {}, which does not exist", target.display()),
            Err(_) => "does not exist".into(),
        },
        ErrorKind::PermissionDenied => "may not be opened by this user".into(),
        ErrorKind::NotADirectory => "lies below a file, not below a folder".into(),
        _ => format!("cannot be opened: {error}"),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_told_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        std::fs::write(files.path("big"), [b'a'; 100]).unwrap();
        std::fs::write(files.path("latin"), b"a\nb\xff").unwrap();
        std::fs::create_dir(files.path("folder.toml")).unwrap();
        let told = |name: &str| files.text(&files.path(name), 99).unwrap_err();
        assert_eq!(told("big"), "is larger than 0 KiB");
        assert_eq!(told("latin"), "is not UTF-8 text (line 2)");
        assert_eq!(told("folder.toml"), "is a folder, not a file");
        assert_eq!(told("nothing"), "does not exist");
        assert_eq!(told("big/x"), "lies below a file, not below a folder");
        assert_eq!(files.read(Path::new("/dev/zero"), 99).unwrap_err(), "is not a regular file");
    }

    #[test]
    fn the_digest_follows_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |content: &[(&str, &str)]| {
            let files = Files::new(folder.path());
            for (name, text) in content {
                std::fs::write(files.path(name), text).unwrap();
                files.read(&files.path(name), 99).unwrap();
            }
            files.digest()
        };
        assert_eq!(digest(&[("a", "x"), ("b", "y")]), digest(&[("b", "y"), ("a", "x")]));
        assert_ne!(digest(&[("a", "x"), ("b", "y")]), digest(&[("a", "y"), ("b", "x")]));
        assert_eq!(digest(&[]).len(), 64);
    }
}
