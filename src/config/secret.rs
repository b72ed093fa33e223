//! Where secrets come from: the environment, a file, and in development mode a published value for what is missing.

use super::files::{Files, SECRET_BYTES_MAX};
use super::strength::{is_blank, judge, readable_by_others};
use crate::auth::Purpose;
use crate::model::{Fault, Secret, SecretSource};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The environment, as handed in: only `cli` reads the process's own.
pub type Environment = BTreeMap<String, String>;

/// Resolves secrets; remembers which ones it had to make up, and which ones are doubtful.
pub struct Secrets<'a> {
    env: &'a Environment,
    files: &'a Files,
    development: bool,
    made_up: RefCell<BTreeSet<String>>,
    doubts: RefCell<BTreeSet<Fault>>,
}

impl<'a> Secrets<'a> {
    /// `development`: a variable that is missing or blank gets its published value. Otherwise published and blank secrets
    /// are refused, and weak ones doubted.
    pub fn new(env: &'a Environment, files: &'a Files, development: bool) -> Secrets<'a> {
        Secrets { env, files, development, made_up: RefCell::default(), doubts: RefCell::default() }
    }

    /// For the settings of a file in `folder` (relative to `gateway.toml`), where its `{ file = … }` start.
    pub fn within(&self, folder: &str) -> impl Fn(&SecretSource, Purpose) -> Result<Secret, String> {
        let folder = self.files.path(folder);
        move |source, purpose| self.resolve(source, purpose, &folder)
    }

    fn resolve(&self, source: &SecretSource, purpose: Purpose, folder: &Path) -> Result<Secret, String> {
        match source {
            SecretSource::Env(name) => self.variable(name, purpose),
            SecretSource::File(name) => self.file(&folder.join(name), purpose),
        }
    }

    fn variable(&self, name: &str, purpose: Purpose) -> Result<Secret, String> {
        if !well_formed(name) && !self.env.contains_key(name) {
            return Err("this is no variable's name: `env` names the variable that holds the secret".into());
        }
        let value = self.env.get(name).map_or("", |value| value.as_str()).as_bytes();
        let value = trimmed(value);
        match (is_blank(value), self.development) {
            (true, true) => {
                self.made_up.borrow_mut().insert(name.to_owned());
                Ok(Secret::new(published(name).as_bytes()))
            }
            (true, false) if value.is_empty() => Err(format!("the secret `{name}` is not set in the environment")),
            (true, false) => Err(format!("the secret `{name}` is blank")),
            (false, _) => {
                let doubt = self.judged(value, Some(name), purpose, &format!("the secret `{name}`"))?;
                self.doubt(Fault::ENVIRONMENT, doubt.map(|doubt| format!("the secret `{name}` {doubt}")));
                Ok(Secret::new(value))
            }
        }
    }

    fn file(&self, path: &Path, purpose: Purpose) -> Result<Secret, String> {
        let name = path.display().to_string();
        let bytes = self.files.secret(path, SECRET_BYTES_MAX).map_err(|e| format!("{name} {e}"))?;
        let value = trimmed(&bytes);
        if is_blank(value) {
            return Err(format!("{name} is {}", if value.is_empty() { "empty" } else { "blank" }));
        }
        let doubt = self.judged(value, None, purpose, &name)?;
        self.doubt(&name, doubt.map(|doubt| format!("this secret {doubt}")));
        if purpose != Purpose::Public {
            self.permissions(path);
        }
        Ok(Secret::new(value))
    }

    /// Development mode publishes secrets itself: how good others are does not matter there.
    fn judged(&self, v: &[u8], variable: Option<&str>, purpose: Purpose, name: &str) -> Result<Option<String>, String> {
        if self.development {
            return Ok(None);
        }
        judge(v, variable, purpose).map_err(|what| format!("{name} is {what}"))
    }

    /// Doubts a file with a secret that others than its owner may read.
    pub fn permissions(&self, path: &Path) {
        let mode = readable_by_others(path);
        let doubt = mode.map(|mode| format!("this secret may be read by others than its owner ({mode})"));
        self.doubt(&path.display().to_string(), doubt);
    }

    fn doubt(&self, file: &str, what: Option<String>) {
        let hint = |what: &str| match what.contains("read by others") {
            true => "chmod 600, and `chown` to the user that Weir runs as",
            false => "`openssl rand -base64 48` makes a good one",
        };
        self.doubts.borrow_mut().extend(what.map(|what| Fault::of_file(file, &what).hint(hint(&what))));
    }

    /// What is doubtful about the secrets that were read.
    pub fn doubts(&self) -> Vec<Fault> {
        self.doubts.borrow().iter().cloned().collect()
    }

    /// Names of the variables that have a published value now: everybody knows these secrets.
    pub fn made_up(&self) -> Vec<String> {
        self.made_up.borrow().iter().cloned().collect()
    }
}

/// Line breaks at the end are an editor's or a shell's, wherever the secret comes from.
fn trimmed(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last + 1);
    &value[..end]
}

/// The value of a missing secret in development mode: `JWT_SECRET` is `dev-jwt-secret`.
pub fn published(name: &str) -> String {
    format!("dev-{}", name.to_lowercase().replace('_', "-"))
}

/// What can be a variable's name; anything else may be the secret itself, which no message repeats.
fn well_formed(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Purpose::Verify;

    const GOOD: &str = "kJ8#mQ2$vL5^nR7&wT9*yU3!zX6@pB4%";

    fn env(name: &str) -> SecretSource {
        SecretSource::Env(name.into())
    }

    fn file(name: &str) -> SecretSource {
        SecretSource::File(name.into())
    }

    fn variables(list: &[(&str, &str)]) -> Environment {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_missing_secret_is_made_up_in_development_only() {
        let (files, vars) = (Files::new("/nowhere"), variables(&[("A", "a\n"), ("E", ""), ("B", " \t")]));
        let secrets = Secrets::new(&vars, &files, true);
        let resolve = secrets.within("");
        assert_eq!(resolve(&env("A"), Verify).unwrap().expose(), b"a");
        assert_eq!(resolve(&env("JWT_SECRET"), Verify).unwrap().expose(), b"dev-jwt-secret");
        assert_eq!(resolve(&env("E"), Verify).unwrap().expose(), b"dev-e");
        assert_eq!(resolve(&env("B"), Verify).unwrap().expose(), b"dev-b");
        assert_eq!(secrets.made_up(), ["B", "E", "JWT_SECRET"]);
        assert_eq!(secrets.doubts(), []);
        let secrets = Secrets::new(&vars, &files, false);
        let resolve = secrets.within("");
        assert_eq!(resolve(&env("E"), Verify).unwrap_err(), "the secret `E` is not set in the environment");
        assert_eq!(resolve(&env("B"), Verify).unwrap_err(), "the secret `B` is blank");
        assert_eq!(secrets.made_up(), [""; 0]);
    }

    #[test]
    fn production_refuses_what_is_known_and_doubts_what_is_weak() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "dev-jwt-secret\n").unwrap();
        let files = Files::new(folder.path());
        let vars = variables(&[("JWT_SECRET", "dev-jwt-secret"), ("ONE", "x"), ("SHORT", "short one"), ("GOOD", GOOD)]);
        let secrets = Secrets::new(&vars, &files, false);
        let resolve = secrets.within("");
        for (source, told) in [
            (env("JWT_SECRET"), "the secret `JWT_SECRET` is a published value: everybody knows it"),
            (env("ONE"), "the secret `ONE` is one letter, or one letter again and again"),
            (file("key"), "key is a published value: everybody knows it"),
        ] {
            let why = resolve(&source, Verify).unwrap_err();
            assert!(why.ends_with(told) && resolve(&source, Purpose::Send).is_err(), "{why}");
        }
        assert!(resolve(&env("GOOD"), Verify).is_ok() && secrets.doubts().is_empty());
        assert!(resolve(&env("SHORT"), Verify).is_ok());
        let told: Vec<String> = secrets.doubts().iter().map(|d| d.to_string()).collect();
        assert!(told[0].starts_with("environment: the secret `SHORT` has 9 bytes, and 32 are the least"), "{told:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_may_read_is_doubted_and_a_public_key_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, GOOD).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        put("own", 0o600);
        put("group", 0o640);
        put("all", 0o604);
        put("public", 0o644);
        let (files, vars) = (Files::new(folder.path()), Environment::new());
        let secrets = Secrets::new(&vars, &files, true);
        let resolve = secrets.within("");
        for name in ["own", "group", "all"] {
            assert!(resolve(&file(name), Verify).is_ok());
        }
        assert!(resolve(&file("public"), Purpose::Public).is_ok());
        let root = format!("{}/", folder.path().display());
        let told: Vec<String> = secrets.doubts().iter().map(|d| d.to_string().replace(&root, "")).collect();
        let told: Vec<&str> = told.iter().filter_map(|d| d.lines().next()).collect();
        assert_eq!(
            told,
            [
                "all: this secret may be read by others than its owner (0604)",
                "group: this secret may be read by others than its owner (0640)",
            ]
        );
    }

    #[test]
    fn a_secret_written_as_a_name_is_not_repeated() {
        let (files, vars) = (Files::new("/nowhere"), Environment::new());
        for development in [true, false] {
            let told = Secrets::new(&vars, &files, development).within("")(&env("hunter-2!"), Verify).unwrap_err();
            assert!(!told.contains("hunter"), "{told}");
        }
    }

    #[test]
    fn line_breaks_at_the_end_are_no_part_of_a_secret_wherever_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("channels")).unwrap();
        std::fs::write(folder.path().join("channels/key"), " s3\ncret \r\n\n").unwrap();
        std::fs::write(folder.path().join("channels/empty"), "\n").unwrap();
        let (files, vars) = (Files::new(folder.path()), variables(&[("KEY", " s3\ncret \r\n\n")]));
        let secrets = Secrets::new(&vars, &files, true);
        let resolve = secrets.within("channels");
        assert_eq!(resolve(&file("key"), Verify).unwrap().expose(), b" s3\ncret ");
        assert_eq!(resolve(&env("KEY"), Verify).unwrap().expose(), b" s3\ncret ");
        assert!(resolve(&file("empty"), Verify).unwrap_err().ends_with("channels/empty is empty"));
        assert!(resolve(&file("none"), Verify).unwrap_err().ends_with("channels/none does not exist"));
    }
}
