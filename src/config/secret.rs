//! Where secrets come from: the environment, a file, and in development mode a published value for what is missing.

use super::files::{Files, SECRET_BYTES_MAX};
use crate::model::{Secret, SecretSource};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The environment, as handed in: only `cli` reads the process's own.
pub type Environment = BTreeMap<String, String>;

/// Resolves secrets and remembers which ones it had to make up.
pub struct Secrets<'a> {
    env: &'a Environment,
    files: &'a Files,
    development: bool,
    made_up: RefCell<BTreeSet<String>>,
}

impl<'a> Secrets<'a> {
    /// `development`: a variable that is missing or empty gets its published value.
    pub fn new(env: &'a Environment, files: &'a Files, development: bool) -> Secrets<'a> {
        Secrets { env, files, development, made_up: RefCell::default() }
    }

    /// For the settings of a file in `folder` (relative to `gateway.toml`), where its `{ file = … }` start.
    pub fn within(&self, folder: &str) -> impl Fn(&SecretSource) -> Result<Secret, String> {
        let folder = self.files.path(folder);
        move |source| self.resolve(source, &folder)
    }

    fn resolve(&self, source: &SecretSource, folder: &Path) -> Result<Secret, String> {
        match source {
            SecretSource::Env(name) => match self.env.get(name).filter(|v| !v.is_empty()) {
                Some(value) => Ok(Secret::new(value.as_bytes())),
                None if self.development && well_formed(name) => {
                    self.made_up.borrow_mut().insert(name.clone());
                    Ok(Secret::new(published(name).as_bytes()))
                }
                None if !well_formed(name) => {
                    Err("this is no variable's name: `env` names the variable that holds the secret".into())
                }
                None => Err(format!("the secret `{name}` is not set in the environment")),
            },
            SecretSource::File(name) => {
                let path = folder.join(name);
                let mut bytes =
                    self.files.secret(&path, SECRET_BYTES_MAX).map_err(|e| format!("{} {e}", path.display()))?;
                if bytes.ends_with(b"\n") {
                    bytes.pop();
                    bytes.pop_if(|b| *b == b'\r');
                }
                match bytes.is_empty() {
                    true => Err(format!("{} is empty", path.display())),
                    false => Ok(Secret::new(bytes)),
                }
            }
        }
    }

    /// Names of the variables that have a published value now: everybody knows these secrets.
    pub fn made_up(&self) -> Vec<String> {
        self.made_up.borrow().iter().cloned().collect()
    }
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

    fn env(name: &str) -> SecretSource {
        SecretSource::Env(name.into())
    }

    #[test]
    fn a_missing_secret_is_made_up_in_development_only() {
        let (files, vars) =
            (Files::new("/nowhere"), Environment::from([("A".into(), "a".into()), ("E".into(), String::new())]));
        let secrets = Secrets::new(&vars, &files, true);
        let resolve = secrets.within("");
        assert_eq!(resolve(&env("A")).unwrap().expose(), b"a");
        assert_eq!(resolve(&env("JWT_SECRET")).unwrap().expose(), b"dev-jwt-secret");
        assert_eq!(resolve(&env("E")).unwrap().expose(), b"dev-e");
        assert_eq!(secrets.made_up(), ["E", "JWT_SECRET"]);
        let secrets = Secrets::new(&vars, &files, false);
        assert_eq!(secrets.within("")(&env("E")).unwrap_err(), "the secret `E` is not set in the environment");
        assert_eq!(secrets.made_up(), [""; 0]);
    }

    #[test]
    fn a_secret_written_as_a_name_is_not_repeated() {
        let (files, vars) = (Files::new("/nowhere"), Environment::new());
        for development in [true, false] {
            let told = Secrets::new(&vars, &files, development).within("")(&env("hunter-2!")).unwrap_err();
            assert!(!told.contains("hunter"), "{told}");
        }
    }

    #[test]
    fn a_file_gives_its_first_line_break_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("channels")).unwrap();
        std::fs::write(folder.path().join("channels/key"), "s3cret\r\n").unwrap();
        std::fs::write(folder.path().join("channels/empty"), "\n").unwrap();
        let (files, vars) = (Files::new(folder.path()), Environment::new());
        let secrets = Secrets::new(&vars, &files, true);
        let resolve = secrets.within("channels");
        assert_eq!(resolve(&SecretSource::File("key".into())).unwrap().expose(), b"s3cret");
        assert!(resolve(&SecretSource::File("empty".into())).unwrap_err().ends_with("channels/empty is empty"));
        assert!(resolve(&SecretSource::File("none".into())).unwrap_err().ends_with("channels/none does not exist"));
    }
}
