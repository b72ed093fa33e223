//! Reads `gateway.toml` and `channels/*.toml`, applies the environment, checks their shape.

use super::doc::Doc;
use super::env;
use super::file::{AppFile, GatewayFile};
use super::files::{Files, TOML_BYTES_MAX};
use super::schema::Schema;
use super::secret::Environment;
use super::{de, prune, shape};
use crate::model::Fault;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

/// A file: as a tree, and as settings.
pub struct Sheet<T> {
    /// The app's name; `gateway`.
    pub name: String,
    pub doc: Doc,
    /// Where something is wrong with its shape, what is left without that.
    pub made: Option<T>,
    /// Places of tables that lost something so, as line and column.
    pub incomplete: BTreeSet<(u32, u32)>,
}

/// Everything read, with what was wrong so far.
pub struct Loaded {
    pub files: Rc<Files>,
    pub gateway: Sheet<GatewayFile>,
    pub apps: Vec<Sheet<AppFile>>,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Fault>,
    /// Variables that changed a setting.
    pub overrides: Vec<String>,
}

/// Apps of one gateway.
pub const APPS_MAX: usize = 1_000;

/// Reads the configuration whose `gateway.toml` this is; `channels/` lies beside it.
pub fn load(gateway: &Path, env: &Environment) -> Loaded {
    let files = Rc::new(Files::new(gateway.parent().unwrap_or(Path::new(""))));
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let (gateway_schema, app_schema) = (Schema::of::<GatewayFile>(), Schema::of::<AppFile>());

    let mut broken = Vec::new();
    let mut read = |path: &Path, faults: &mut Vec<Fault>| {
        let (name, before) = (path.display().to_string(), faults.len());
        let text = files.text(path, TOML_BYTES_MAX).unwrap_or_else(|why| {
            let fault = Fault::of_file(&name, format!("this file {why}"));
            let empty = (why == "is empty").then(|| "an app is removed by removing its file".to_owned());
            faults.push(Fault { hint: empty, ..fault });
            String::new()
        });
        let doc = Doc::parse(&name, &text, faults);
        if faults.len() > before {
            broken.push(doc.file.clone());
        }
        doc
    };
    let mut gateway = read(gateway, &mut faults);
    let mut apps: Vec<(String, Doc)> = Vec::new();
    let folder = files.path("channels").display().to_string();
    match files.apps() {
        // Not a gateway without apps: a folder that is renamed, mounted or copied just now would end all of them.
        Err(why) => faults.push(
            Fault::of_file(&folder, format!("this folder {why}"))
                .expected("a folder with a NAME.toml for each app; an empty one where there is none"),
        ),
        Ok(found) if found.is_empty() => {
            warnings.push(Fault::of_file(&folder, "this folder has no NAME.toml: the gateway has no app"));
        }
        Ok(found) if found.len() > APPS_MAX => {
            faults
                .push(Fault::of_file(&folder, format!("{} apps", found.len())).expected(format!("{APPS_MAX} at most")));
        }
        Ok(found) => {
            for path in found {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                if !well_formed(&name) {
                    let fault = Fault::of_file(&path.display().to_string(), format!("`{name}` is no name for an app"));
                    faults.push(
                        fault.expected("a file name of `a` to `z`, `0` to `9`, `_` and `-`, such as clinic.toml"),
                    );
                }
                apps.push((name, read(&path, &mut faults)));
            }
        }
    }

    // A file that does not parse is told once, for its syntax; half of it would look wrong in a hundred ways.
    let unread = |doc: &Doc| broken.contains(&doc.file);
    let (gateway_unread, apps_unread) = (unread(&gateway), apps.iter().map(|(_, d)| unread(d)).collect::<Vec<_>>());
    let mut both =
        env::Files { gateway: &mut gateway, gateway_schema: &gateway_schema, apps: &mut apps, app_schema: &app_schema };
    let applied = if gateway_unread { env::Applied::default() } else { env::apply(&mut both, env) };
    faults.extend(applied.faults);
    warnings.extend(applied.warnings);

    let gateway = sheet(
        "gateway".into(),
        gateway,
        gateway_unread,
        &gateway_schema,
        ("channels/*.toml", &app_schema),
        &mut faults,
    );
    let app = |((name, doc), unread): ((String, Doc), bool)| {
        sheet(name, doc, unread, &app_schema, ("gateway.toml", &gateway_schema), &mut faults)
    };
    let apps = apps.into_iter().zip(apps_unread).map(app).collect();
    Loaded { files, gateway, apps, faults, warnings, overrides: applied.used.into_iter().collect() }
}

/// `[a-z0-9_-]+`
fn well_formed(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn sheet<T: DeserializeOwned + JsonSchema>(
    name: String,
    doc: Doc,
    unread: bool,
    schema: &Schema,
    other: (&str, &Schema),
    faults: &mut Vec<Fault>,
) -> Sheet<T> {
    if unread {
        return Sheet { name, doc, made: None, incomplete: BTreeSet::new() };
    }
    let before = faults.len();
    shape::check(&doc, schema, &[other], faults);
    if faults.len() > before {
        return match prune::rest_of(&doc, schema) {
            Some(rest) => {
                Sheet { name, made: de::read(&rest.doc.root).ok(), doc: rest.doc, incomplete: rest.incomplete }
            }
            None => Sheet { name, doc, made: None, incomplete: BTreeSet::new() },
        };
    }
    let made = de::read(&doc.root).map_err(|e| {
        let at = e.at.unwrap_or(doc.root.at.clone());
        let (what, expected) = match e.what.split_once(", expected ") {
            Some((what, expected)) => (what.to_owned(), Some(expected.to_owned())),
            None => (e.what, None),
        };
        faults.push(Fault { expected, ..doc.fault(&at, what) });
    });
    Sheet { name, made: made.ok(), doc, incomplete: BTreeSet::new() }
}
