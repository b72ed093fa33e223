//! What one reading of the files looked at, and whether looking again now would show anything else.
//!
//! Every file that was read or looked for is here with its stamp, and every folder that was listed with its names. A
//! log, a database or an editor's own files beside `gateway.toml` are not: nothing that happens to them matters.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// SHA-256 of a file's content.
pub type Content = [u8; 32];

/// Everything that one reading depended on.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Inputs {
    files: BTreeMap<PathBuf, Seen>,
    folders: BTreeMap<Listing, Listed>,
}

/// Names with this extension in this folder.
type Listing = (PathBuf, &'static str);
/// What was there; or why nobody can tell.
type Listed = Result<Vec<PathBuf>, ErrorKind>;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    stamp: Stamp,
    /// Written so shortly before it was looked at that another write might leave the same stamp.
    young: bool,
    /// `None`: it could not be read.
    content: Option<Content>,
    bytes_max: u64,
}

/// What the file system says of a path, links followed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stamp {
    There { file: (u64, u64), kind: u32, bytes: u64, modified: (i64, i64), changed: (i64, i64) },
    Gone(ErrorKind),
}

/// Times of files are as coarse as this on some file systems: a second write within it may not move them.
const YOUNG: Duration = Duration::from_secs(2);
/// Links of one path, as Linux bounds them.
const LINKS_MAX: usize = 40;

impl Stamp {
    fn of(path: &Path) -> Stamp {
        match std::fs::metadata(path) {
            Err(error) => Stamp::Gone(error.kind()),
            Ok(m) => Stamp::There {
                file: (m.dev(), m.ino()),
                kind: m.mode(),
                bytes: m.len(),
                modified: (m.mtime(), m.mtime_nsec()),
                changed: (m.ctime(), m.ctime_nsec()),
            },
        }
    }

    fn is_young(&self) -> bool {
        let Stamp::There { modified, changed, .. } = self else { return false };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Also where it lies ahead of the clock, as after a step back.
        modified.max(changed).0 >= now.saturating_sub(YOUNG).as_secs() as i64
    }
}

impl Inputs {
    /// Before a file is read: what changes from then on is seen later.
    pub(super) fn looked_for(&mut self, path: &Path, bytes_max: u64) {
        let stamp = Stamp::of(path);
        let young = stamp.is_young();
        // Read twice, the first look counts: what changed between the two is a change.
        let seen = Seen { stamp, young, content: None, bytes_max };
        self.files.entry(path.to_owned()).or_insert(seen);
    }

    pub(super) fn was_read(&mut self, path: &Path, content: Content) {
        if let Some(seen) = self.files.get_mut(path) {
            seen.content.get_or_insert(content);
        }
    }

    /// Lists a folder: the visible names with this extension, sorted.
    pub(super) fn list(&mut self, folder: &Path, extension: &'static str) -> io::Result<Vec<PathBuf>> {
        let found = list(folder, extension);
        let listed = found.as_ref().map(Vec::clone).map_err(io::Error::kind);
        self.folders.entry((folder.to_owned(), extension)).or_insert(listed);
        found
    }

    /// Contents of what was read.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&PathBuf, &Content)> {
        self.files.iter().filter_map(|(path, seen)| Some((path, seen.content.as_ref()?)))
    }

    /// Whether another reading could come to something else. `contents`: stamps are not believed, files are read.
    pub fn changed(&mut self, contents: bool) -> bool {
        self.folders.iter().any(|((folder, extension), listed)| {
            list(folder, extension).as_ref().map_err(io::Error::kind) != listed.as_ref().map_err(|kind| *kind)
        }) || self.files.iter_mut().any(|(path, seen)| seen.changed(path, contents))
    }

    /// Files that were found in a listed folder and read, of which these inputs know nothing and which are not there
    /// any more: what they said goes with them.
    pub fn vanished(&self, after: &Inputs) -> BTreeSet<PathBuf> {
        let listed = self.folders.values().flatten().flatten();
        let read = |path: &&PathBuf| self.files.get(*path).is_some_and(|seen| seen.content.is_some());
        let gone =
            |path: &&PathBuf| !after.files.contains_key(*path) && Stamp::of(path) == Stamp::Gone(ErrorKind::NotFound);
        listed.filter(read).filter(gone).cloned().collect()
    }

    /// Whether a file that these inputs do not know has the content that `path` had in them: it was renamed.
    pub fn renamed(&self, path: &Path, after: &Inputs) -> bool {
        let Some(Seen { content: Some(content), .. }) = self.files.get(path) else { return false };
        after.contents().any(|(other, now)| now == content && !self.files.contains_key(other))
    }

    /// Names with this extension in this folder count, also those that are not there yet.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        self.folders.keys().map(|(folder, extension)| (&**folder, *extension))
    }

    /// Every name in every folder whose replacement would lead one of these paths elsewhere: the path itself, each link
    /// on the way to it, and where the way ends too early, the first name that is not there.
    pub(super) fn names(&self) -> BTreeSet<PathBuf> {
        let mut names = BTreeSet::new();
        let paths = self.files.keys().chain(self.folders.keys().map(|(folder, _)| folder));
        paths.for_each(|path| way(path, &mut names));
        names
    }
}

impl Seen {
    fn changed(&mut self, path: &Path, contents: bool) -> bool {
        let stamp = Stamp::of(path);
        if stamp != self.stamp {
            return true;
        }
        if !self.young && !contents {
            return false;
        }
        if read(path, self.bytes_max).ok().map(|bytes| Sha256::digest(&bytes).into()) != self.content {
            return true;
        }
        self.young = stamp.is_young();
        false
    }
}

/// A file's bytes, and no more than one beyond `bytes_max`.
///
/// What is no regular file is refused before it is opened, for opening a device may do things. A pipe that takes the
/// file's place between the two looks does not block either.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Unread> {
    regular(&std::fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    File::take(file, bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(Unread::Large) } else { Ok(bytes) }
}

/// Why a file was not read.
pub(super) enum Unread {
    Folder,
    Special,
    Large,
    Failed(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Failed(error)
    }
}

fn regular(found: &Metadata) -> Result<(), Unread> {
    match found {
        folder if folder.is_dir() => Err(Unread::Folder),
        file if file.is_file() => Ok(()),
        _ => Err(Unread::Special),
    }
}

fn list(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = folder.join(entry?.file_name());
        if is_listed(&path, extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Hidden names are an editor's or Kubernetes' own: `.#clinic.toml`, `..data`.
pub(super) fn is_listed(path: &Path, extension: &str) -> bool {
    let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|e| e == extension)
}

fn way(path: &Path, names: &mut BTreeSet<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else { return };
    let mut left: Vec<PathBuf> = parts(&path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        match part.components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::Normal(_)) => {
                let name = at.join(part);
                match std::fs::read_link(&name) {
                    Ok(target) if links < LINKS_MAX => {
                        links += 1;
                        left.extend(parts(&target));
                        names.insert(name);
                    }
                    // No link: not there, or the next step.
                    _ if left.is_empty() || std::fs::symlink_metadata(&name).is_err() => {
                        names.insert(name);
                        return;
                    }
                    _ => at = name,
                }
            }
            _ => {}
        }
    }
}

/// Its components, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|c| PathBuf::from(c.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A folder, and what a reading of two files and a listing in it looked at.
    fn looked(folder: &Path) -> Inputs {
        let mut inputs = Inputs::default();
        for name in ["gateway.toml", "key.pem"] {
            let path = folder.join(name);
            inputs.looked_for(&path, 99);
            if let Ok(bytes) = read(&path, 99) {
                inputs.was_read(&path, Sha256::digest(bytes).into());
            }
        }
        let _ = inputs.list(&folder.join("channels"), "toml");
        inputs
    }

    #[test]
    fn what_was_looked_at_counts_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("channels")).unwrap();
        fs::write(at("gateway.toml"), "a").unwrap();
        // None of these is what was read: a log, a database, an editor's and a deployment's own files.
        for (name, text) in
            [("weir.log", "1"), ("gateway.toml~", "x"), (".gateway.toml.swp", "x"), ("channels/4913", "")]
        {
            let mut inputs = looked(folder.path());
            fs::write(at(name), text).unwrap();
            assert!(!inputs.changed(false) && !inputs.changed(true), "{name}");
        }
        symlink("nowhere", at("channels/.#a.toml")).unwrap();
        assert!(!looked(folder.path()).changed(true));
        type Change<'c> = &'c dyn Fn();
        let changes: [(&str, Change); 8] = [
            ("same size, same moment", &|| fs::write(at("gateway.toml"), "b").unwrap()),
            ("replaced", &|| {
                fs::write(at("next"), "b").unwrap();
                fs::rename(at("next"), at("gateway.toml")).unwrap();
            }),
            ("there at last", &|| fs::write(at("key.pem"), "k").unwrap()),
            ("another app", &|| fs::write(at("channels/a.toml"), "").unwrap()),
            ("a link to nothing", &|| symlink("nowhere", at("channels/b.toml")).unwrap()),
            ("an app is gone", &|| fs::remove_file(at("channels/a.toml")).unwrap()),
            ("the folder is gone", &|| fs::rename(at("channels"), at("channels.old")).unwrap()),
            ("the file is gone", &|| fs::remove_file(at("gateway.toml")).unwrap()),
        ];
        for (what, change) in changes {
            let mut inputs = looked(folder.path());
            change();
            assert!(inputs.changed(false), "{what}");
        }
    }

    #[test]
    fn a_link_is_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for release in ["1", "2"] {
            fs::create_dir_all(at(release).join("channels")).unwrap();
            fs::write(at(release).join("gateway.toml"), release).unwrap();
        }
        symlink("1", at("current")).unwrap();
        let mut inputs = looked(&at("current"));
        let names: BTreeSet<PathBuf> = inputs.names();
        let root = folder.path().canonicalize().unwrap();
        for name in ["current", "1/gateway.toml", "1/channels", "1/key.pem"] {
            assert!(names.contains(&root.join(name)), "{name}: {names:?}");
        }
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert!(inputs.changed(false));
        // A link that leads in a circle ends.
        symlink("circle", at("circle")).unwrap();
        assert!(looked(&at("circle")).names().contains(&root.join("circle")));
    }

    #[test]
    fn what_is_gone_is_told_from_what_was_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let seen = || {
            let mut inputs = Inputs::default();
            for path in inputs.list(folder.path(), "toml").unwrap() {
                inputs.looked_for(&path, 99);
                let content = Sha256::digest(read(&path, 99).ok().unwrap()).into();
                inputs.was_read(&path, content);
            }
            inputs
        };
        fs::write(at("a.toml"), "a").unwrap();
        fs::write(at("b.toml"), "b").unwrap();
        let before = seen();
        fs::remove_file(at("a.toml")).unwrap();
        fs::rename(at("b.toml"), at("c.toml")).unwrap();
        let after = seen();
        assert_eq!(before.vanished(&after), BTreeSet::from([at("a.toml"), at("b.toml")]));
        assert!(!before.renamed(&at("a.toml"), &after) && before.renamed(&at("b.toml"), &after));
        // Back before anybody acted on it.
        fs::write(at("a.toml"), "a").unwrap();
        assert_eq!(before.vanished(&after), BTreeSet::from([at("b.toml")]));
    }

    #[test]
    fn a_pipe_in_a_files_place_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.toml");
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: a path that ends with 0.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(matches!(read(&path, 99), Err(Unread::Special)));
        let mut inputs = Inputs::default();
        inputs.looked_for(&path, 99);
        assert!(!inputs.changed(true));
    }
}
