//! From files to what the rooms use: every room compiles its own tables, and what spans rooms is checked here.

use super::app::{App, Compiling};
use super::doc::Doc;
use super::file::{AppFile, GatewayFile, Mode, ReloadSettings, Shards};
use super::files::{DATA_BYTES_MAX, Files};
use super::inputs::Inputs;
use super::load::{Loaded, Sheet};
use super::restart::{self, Refused};
use super::secret::{Environment, Secrets};
use super::written::Said;
use super::{check, lint, plugin_tests, unread};
use crate::flow::Limits;
use crate::model::{AppId, Fault, Origins, Problem, sorted};
use crate::{api, auth, listen, observe};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// OpenSSL's name for a PEM file with authorities, which curl, Python, Go and Node's `--use-openssl-ca` honour too.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";

/// Everything that the files say, ready to use.
pub struct Compiled {
    pub mode: Mode,
    /// The folder of `gateway.toml`, which paths in it are relative to.
    pub base: PathBuf,
    /// `None`: one a core.
    pub shards: Option<u16>,
    /// Where to bind, by name.
    pub listeners: BTreeMap<String, listen::ListenerSettings>,
    pub entrance: Arc<listen::Entrance>,
    pub limits: Limits,
    pub keys: auth::Keys,
    /// Whom calls over https believe.
    pub roots: auth::Roots,
    /// API keys and all apps' routes.
    pub site: Arc<api::Site>,
    pub log: observe::LogSettings,
    pub audit: observe::AuditSettings,
    /// Sorted by name.
    pub apps: Vec<App>,
    /// Of every app that ever was in force, by name: a reload keeps numbers.
    pub ids: BTreeMap<String, AppId>,
    /// Of every listener that ever was in force.
    pub numbers: listen::Numbers,
    /// SHA-256 over all files read, in hex.
    pub digest: Arc<str>,
    /// Legal, and worth a look.
    pub warnings: Vec<Fault>,
    /// Names of secrets that have their published value: to be said loudly at the start.
    pub made_up: Vec<String>,
    /// Variables that changed a setting.
    pub overrides: Vec<String>,
    /// Every file read, and the SHA-256 of its content in hex.
    pub files: BTreeMap<PathBuf, String>,
    /// Those of them whose digests are for nobody.
    pub secrets: BTreeSet<PathBuf>,
    /// All that they were compiled from.
    pub inputs: Inputs,
    pub reload: ReloadSettings,
    pub script: crate::script::Process,
    pub store: crate::store::Settings,
    /// What is written, for telling what another reading changes.
    pub said: Said,
    doc: Doc,
}

impl Compiled {
    /// A problem that shows once the files are used, with its place in gateway.toml.
    pub fn fault(&self, problem: &Problem) -> Fault {
        self.doc.locate(problem)
    }
}

/// What compiling needs beside the files.
pub struct Means<'a> {
    pub env: &'a Environment,
    /// For keys and rows behind URLs.
    pub fetcher: &'a auth::Fetcher,
    /// What is in force: fetched keys and rows are taken over.
    pub previous: Option<&'a Compiled>,
}

/// All faults of all files at once, or everything ready to use. `restarts`: gathers what takes a restart to change, which
/// is no fault here.
pub fn compile(loaded: Loaded, means: &Means, restarts: &mut Vec<Refused>) -> Result<Compiled, Vec<Fault>> {
    let Loaded { files, gateway, apps, mut faults, mut warnings, overrides } = loaded;
    let of_shape = faults.len();
    let mode = gateway.made.as_ref().map_or(Mode::Development, |g| g.mode);
    let secrets = Secrets::new(means.env, &files, mode == Mode::Development);
    let resolve = secrets.within("");
    let (mut keys, mut api_keys) = (None, None);
    if let Some(file) = &gateway.made {
        check::listeners(file, &gateway.doc, &mut faults);
        if let Some(previous) = means.previous.filter(|_| gateway.incomplete.is_empty()) {
            *restarts = restart::gateway(file, &gateway.doc, previous);
        }
        tell(&gateway.doc, "limits", check::limits(file), &mut faults);
        tell(&gateway.doc, "limits", check::doubtful(&file.limits.b), &mut warnings);
        tell(&gateway.doc, "store", file.store.check().err().into_iter().collect(), &mut faults);
        let compiled = auth::Keys::compile(&file.key, &resolve, means.fetcher, means.previous.map(|p| &p.keys));
        keys = compiled.map_err(|p| tell(&gateway.doc, "key", p, &mut faults)).ok();
        tell(&gateway.doc, "", lint::keys(file, apps.iter().filter_map(|a| a.made.as_ref())), &mut warnings);
        let names: Vec<&str> = apps.iter().map(|a| a.name.as_str()).collect();
        tell(&gateway.doc, "", check::default_apps(file, &names), &mut warnings);
        let compiled = api::Keys::compile(&file.api_key, &names, &resolve);
        api_keys = compiled.map_err(|p| tell(&gateway.doc, "api_key", p, &mut faults)).ok();
    }
    let roots = gateway
        .made
        .as_ref()
        .map(|file| roots(&file.tls.ca, &gateway.doc, means.env, &files, (&mut faults, &mut warnings)));
    let mut ids = means.previous.map(|p| p.ids.clone()).unwrap_or_default();
    let (mut made, mut https) = (Vec::new(), Vec::new());
    for sheet in &apps {
        // Numbers are handed out once and never twice: a message on its way must not reach another app.
        let Ok(next) = u16::try_from(ids.len()).map(AppId) else {
            faults.push(
                Fault::of_file(&sheet.doc.file, "no number is left for another app")
                    .hint("a restart numbers them anew"),
            );
            break;
        };
        let id = *ids.entry(sheet.name.clone()).or_insert(next);
        let Some(file) = &sheet.made else { continue };
        let mut one = Compiling { id, sheet, file, gateway: &gateway, keys: keys.as_ref(), means, faults: Vec::new() };
        let rows = RefCell::new(Sha256::new());
        let read = |name: &str| {
            let path = files.path("channels").join(name);
            let bytes = files.read(&path, DATA_BYTES_MAX).map_err(|why| format!("{} {why}", path.display()))?;
            rows.borrow_mut().update(Sha256::digest(&bytes));
            Ok(bytes)
        };
        let app = one.app(&files, &read, &rows, &secrets.within("channels"), &mut warnings);
        https
            .extend(app.as_ref().and_then(|app| one.http(app, mode == Mode::Development, &secrets.within("channels"))));
        faults.extend(one.faults);
        made.extend(app);
    }
    let mut numbers = means.previous.map(|p| p.numbers.clone()).unwrap_or_default();
    let entrance = gateway.made.as_ref().and_then(|file| {
        listen::number(&file.listener, &mut numbers);
        let tls = file.listener.values().filter_map(|l| l.tls.as_ref());
        tls.for_each(|tls| secrets.permissions(&files.path(&tls.key)));
        entrance(file, &gateway.doc, &apps, (&ids, &numbers), &files, &mut faults)
    });
    if let Some(entrance) = &entrance {
        tell(&gateway.doc, "", entrance.expiring(crate::observe::clock().wall), &mut warnings);
    }
    let endpoints =
        made.iter().map(|app: &App| (app.flow.name.to_string(), app.flow.endpoints.iter().map(|e| e.key.clone())));
    let endpoints = endpoints.map(|(name, keys)| (name, keys.collect())).collect();
    let said = Said::of(&gateway.doc, apps.iter().map(|sheet| (sheet.name.as_str(), &sheet.doc)), endpoints);
    if gateway.made.as_ref().is_some_and(|file| file.reload.require_tests) {
        plugin_tests::read(&files, &mut faults);
    }
    warnings.extend(secrets.doubts());
    let later = faults.split_off(of_shape);
    faults.extend(later.into_iter().filter(|fault| {
        let missed =
            |doc: &Doc, places: &BTreeSet<_>| doc.file == fault.file && places.contains(&(fault.line, fault.column));
        !missed(&gateway.doc, &gateway.incomplete) && !apps.iter().any(|app| missed(&app.doc, &app.incomplete))
    }));
    if !faults.is_empty() {
        let production = gateway.doc.root.get("mode").and_then(|mode| mode.text()) == Some("production");
        let strict = Secrets::new(means.env, &files, !production);
        let mut missing = unread::secrets(&gateway.doc, &strict, "", !production, &faults);
        for sheet in &apps {
            missing.extend(unread::secrets(&sheet.doc, &strict, "channels", !production, &faults));
        }
        faults.extend(missing);
    }
    let whole = https.len() == apps.len();
    let site = gateway.made.as_ref().filter(|_| whole).zip(api_keys);
    let site = site.and_then(|(file, api_keys)| site_of(file, api_keys, https, &apps, &mut faults));
    if let (Some(file), Some(keys), Some(entrance), Some(site), true) =
        (gateway.made, keys, entrance, site, faults.is_empty())
    {
        let compiled = Compiled {
            mode,
            base: files.path(""),
            shards: if let Shards::Fixed(n) = file.shards { Some(n) } else { None },
            listeners: file.listener,
            entrance,
            limits: file.limits.a,
            keys,
            roots: roots.unwrap_or_default(),
            site,
            log: file.log,
            audit: file.audit,
            apps: made,
            ids,
            numbers,
            digest: files.digest(),
            warnings: sorted(warnings),
            made_up: secrets.made_up(),
            overrides,
            files: files.seen(),
            secrets: files.secrets(),
            inputs: files.inputs(),
            reload: file.reload,
            script: file.script.a,
            store: file.store,
            said,
            doc: gateway.doc,
        };
        return Ok(compiled);
    }
    if faults.is_empty() {
        faults.push(Fault::of_file(
            &gateway.doc.file,
            "nothing is wrong, and yet nothing came of it: Weir's own mistake",
        ));
    }
    Err(sorted(faults))
}

/// Mozilla's roots, those of `[tls] ca`, and those of `SSL_CERT_FILE`, which others read as well: where that one is of no
/// use, it is doubted and the gateway starts.
fn roots(
    ca: &str,
    doc: &Doc,
    env: &Environment,
    files: &Files,
    (faults, warnings): (&mut Vec<Fault>, &mut Vec<Fault>),
) -> auth::Roots {
    let mut roots = auth::Roots::default();
    let mut add = |path: PathBuf| {
        let pem = files.read(&path, DATA_BYTES_MAX);
        let more = pem.and_then(|pem| roots.with(&pem)).map_err(|why| format!("{} {why}", path.display()))?;
        roots = more;
        Ok::<_, String>(())
    };
    if !ca.is_empty()
        && let Err(why) = add(files.path(ca))
    {
        faults.push(doc.locate(&Problem::new("tls.ca", why).expected("a PEM file with certificates")));
    }
    if let Some(path) = env.get(SSL_CERT_FILE).filter(|path| !path.is_empty())
        && let Err(why) = add(PathBuf::from(path))
    {
        warnings.push(Fault::of_file(Fault::ENVIRONMENT, format!("{SSL_CERT_FILE}: {why}")));
    }
    roots
}

/// Listeners and all apps' endpoints together: two that nothing tells apart are found only here.
fn entrance(
    file: &GatewayFile,
    doc: &Doc,
    sheets: &[Sheet<AppFile>],
    (ids, numbers): (&BTreeMap<String, AppId>, &listen::Numbers),
    files: &Files,
    faults: &mut Vec<Fault>,
) -> Option<Arc<listen::Entrance>> {
    let known = sheets.iter().filter_map(|s| Some((s, s.made.as_ref()?, *ids.get(&s.name)?)));
    let apps: Vec<listen::AppEndpoints> = known
        .map(|(sheet, app, id)| listen::AppEndpoints {
            app: id,
            name: &sheet.name,
            listener: app.listener.as_deref(),
            origins: app.origins.as_deref(),
            endpoints: app.endpoint.iter().map(|e| &e.a).collect(),
        })
        .collect();
    for tls in file.listener.values().filter_map(|l| l.tls.as_ref()) {
        // For the digest and the watch; what is wrong with them, `listen` says.
        for name in [Some(&tls.cert), tls.client_ca.as_ref()].into_iter().flatten() {
            drop(files.read(&files.path(name), DATA_BYTES_MAX));
        }
        drop(files.secret(&files.path(&tls.key), DATA_BYTES_MAX));
    }
    let compiled = listen::Entrance::compile(&file.listener, numbers, &file.http, &apps, &files.path(""));
    let problems = match compiled {
        Ok(entrance) => return Some(Arc::new(entrance)),
        Err(problems) => problems,
    };
    for (app, problem) in problems {
        let sheet = app.and_then(|id| sheets.iter().find(|s| ids.get(&s.name) == Some(&id)));
        faults.push(sheet.map_or(doc, |s| &s.doc).locate(&problem));
    }
    None
}

/// All apps' routes and the HTTP API together: two routes of one path are found only here.
fn site_of(
    file: &GatewayFile,
    keys: api::Keys,
    apps: Vec<api::AppHttp>,
    sheets: &[Sheet<AppFile>],
    faults: &mut Vec<Fault>,
) -> Option<Arc<api::Site>> {
    let listeners: Vec<_> = file.listener.iter().map(|(name, l)| (name.as_str(), l.admin, l.app.as_deref())).collect();
    let general = Origins::parse(&file.http.origins).unwrap_or_default();
    let pages = api::Pages { general, development: file.mode == Mode::Development };
    let problems = match api::Site::compile(&listeners, keys, pages, apps) {
        Ok(site) => return Some(Arc::new(site)),
        Err(problems) => problems,
    };
    for (app, problem) in problems {
        faults.extend(sheets.iter().filter(|s| s.name == app).map(|s| s.doc.locate(&problem)));
    }
    None
}

/// What rooms found wrong below `section` of a file.
pub(super) fn tell(doc: &Doc, section: &str, problems: Vec<Problem>, faults: &mut Vec<Fault>) {
    faults.extend(problems.into_iter().map(|mut p| {
        p.path = match p.path.as_str() {
            "" => section.to_owned(),
            inner if section.is_empty() || inner.starts_with('[') => format!("{section}{inner}"),
            inner => format!("{section}.{inner}"),
        };
        doc.locate(&p)
    }));
}
