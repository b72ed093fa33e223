//! Reads the files of a configuration: bounded, and remembered for the digest.

use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration's folder: `gateway.toml` and everything that it names.
pub struct Files {
    root: PathBuf,
    read: RefCell<BTreeMap<PathBuf, [u8; 32]>>,
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
        Files { root: root.into(), read: RefCell::default(), secret: RefCell::default() }
    }

    /// A path as files name it, relative to the folder, as the operator would open it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A file's bytes; the error completes the sentence "FILE …".
    pub fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        // Asked before opening: a pipe in a file's place would never answer.
        let found = std::fs::metadata(path).map_err(why)?;
        if found.is_dir() {
            return Err("is a folder, not a file".into());
        }
        if !found.is_file() {
            return Err("is not a regular file".into());
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|f| f.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(why)?;
        if bytes.len() as u64 > bytes_max {
            return Err(format!("is larger than {}", size(bytes_max)));
        }
        self.read.borrow_mut().insert(path.to_owned(), Sha256::digest(&bytes).into());
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

    /// As `read`, of text.
    pub fn text(&self, path: &Path, bytes_max: u64) -> Result<String, String> {
        String::from_utf8(self.read(path, bytes_max)?).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            format!("is not UTF-8 text (line {line})")
        })
    }

    /// The apps' files, sorted: visible names that end in `.toml`.
    pub fn apps(&self) -> Result<Vec<PathBuf>, String> {
        self.list("channels", "toml").map_err(why)
    }

    /// Plugins' tests, sorted; none where there is no folder.
    pub fn tests(&self) -> Result<Vec<PathBuf>, String> {
        match self.list("plugins", "test") {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(|e| format!("{} {}", self.path("plugins").display(), why(e))),
        }
    }

    /// Visible names of a folder with this extension, sorted.
    fn list(&self, folder: &str, extension: &str) -> std::io::Result<Vec<PathBuf>> {
        let folder = self.path(folder);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = folder.join(entry?.file_name());
            let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// SHA-256 over names and contents of everything read, in hex.
    pub fn digest(&self) -> Arc<str> {
        let mut all = Sha256::new();
        for (path, content) in self.read.borrow().iter() {
            let name = path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_encoded_bytes();
            all.update((name.len() as u64).to_be_bytes());
            all.update(name);
            all.update(content);
        }
        hex::encode(all.finalize()).into()
    }

    /// Every file read and the SHA-256 of its content in hex: for the watch and for the status.
    pub fn seen(&self) -> BTreeMap<PathBuf, String> {
        self.read.borrow().iter().map(|(path, content)| (path.clone(), hex::encode(content))).collect()
    }
}

fn why(error: std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".into(),
        ErrorKind::PermissionDenied => "may not be read by this user".into(),
        ErrorKind::NotADirectory => "lies below a file, not below a folder".into(),
        _ => format!("cannot be read: {error}"),
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
