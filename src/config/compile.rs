//! From files to what the rooms use: every room compiles its own tables, and what spans rooms is checked here.

use super::check;
use super::doc::Doc;
use super::fault::{Fault, sorted};
use super::file::{AppFile, GatewayFile, Mode, Shards};
use super::files::DATA_BYTES_MAX;
use super::load::{Loaded, Sheet};
use super::secret::{Environment, Secrets};
use crate::dialect::{Dialect, Json};
use crate::flow::limits::{AppLimits, Limits};
use crate::model::Problem;
use crate::policy::Policy;
use crate::{api, auth, hub, listen, observe};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that the files say, ready to use.
#[derive(Debug)]
pub struct Compiled {
    pub mode: Mode,
    /// `None`: one a core.
    pub shards: Option<u16>,
    pub listeners: BTreeMap<String, listen::ListenerSettings>,
    pub http: listen::HttpSettings,
    pub limits: Limits,
    pub keys: auth::Keys,
    pub api_keys: BTreeMap<String, api::ApiKeySettings>,
    pub log: observe::LogSettings,
    /// Sorted by name.
    pub apps: Vec<App>,
    /// SHA-256 over all files read, in hex.
    pub digest: Arc<str>,
    /// Legal, and worth a look.
    pub warnings: Vec<Fault>,
    /// Names of secrets that have their published value: to be said loudly at the start.
    pub made_up: Vec<String>,
    /// Variables that changed a setting.
    pub overrides: Vec<String>,
    /// Every file read.
    pub files: Vec<PathBuf>,
}

/// One app, ready to use.
#[derive(Debug)]
pub struct App {
    pub name: Arc<str>,
    /// As faults name it.
    pub file: Arc<str>,
    pub limits: AppLimits,
    pub origins: Option<Vec<String>>,
    /// With `{listener.port}` and the like filled in.
    pub settings: Map<String, Value>,
    pub tables: auth::Tables,
    pub auths: BTreeMap<String, Arc<auth::Authenticator>>,
    /// The app's own and those built in.
    pub dialects: BTreeMap<String, Arc<Dialect>>,
    pub policy: Arc<Policy>,
    /// By the policy's class numbers.
    pub classes: Vec<hub::ClassOptions>,
    /// Each with its listener named.
    pub endpoints: Vec<listen::EndpointSettings>,
    /// Each with its listener named.
    pub routes: Vec<api::RouteSettings>,
    pub errors: BTreeMap<String, api::ErrorReply>,
    pub log: observe::LogNames,
}

/// What compiling needs beside the files.
pub struct Means<'a> {
    pub env: &'a Environment,
    /// For keys and rows behind URLs.
    pub fetcher: &'a auth::Fetcher,
    /// What is in force: fetched keys and rows are taken over.
    pub previous: Option<&'a Compiled>,
}

/// All faults of all files at once, or everything ready to use.
pub fn compile(loaded: Loaded, means: &Means) -> Result<Compiled, Vec<Fault>> {
    let Loaded { files, gateway, apps, mut faults, mut warnings, overrides } = loaded;
    let mode = gateway.made.as_ref().map_or(Mode::Development, |g| g.mode);
    let secrets = Secrets::new(means.env, &files, mode == Mode::Development);
    let resolve = secrets.within("");
    let mut keys = None;
    if let Some(file) = &gateway.made {
        check::listeners(file, &gateway.doc, &mut faults);
        tell(&gateway.doc, "limits", check::limits(file), &mut faults);
        tell(&gateway.doc, "limits", check::doubtful(&file.limits.b), &mut warnings);
        let compiled = auth::Keys::compile(&file.key, &resolve, means.fetcher, means.previous.map(|p| &p.keys));
        keys = compiled.map_err(|p| tell(&gateway.doc, "key", p, &mut faults)).ok();
        for (name, key) in &file.api_key {
            let told = resolve(&key.secret).map_err(|why| Problem::new(format!("{name}.secret"), why));
            let unknown = key.apps.iter().enumerate().filter(|(_, a)| *a != "*" && !apps.iter().any(|s| s.name == **a));
            let known = apps.iter().map(|a| a.name.as_str());
            let problems =
                unknown.map(|(i, a)| check::unknown_name(format!("{name}.apps[{i}]"), "app", a, known.clone()));
            tell(&gateway.doc, "api_key", problems.chain(told.err()).collect(), &mut faults);
        }
    }
    let mut made = Vec::new();
    for sheet in &apps {
        let Some(file) = &sheet.made else { continue };
        let mut one = Compiling { sheet, file, gateway: &gateway, keys: keys.as_ref(), means, faults: Vec::new() };
        let read = |name: &str| {
            let path = files.path("channels").join(name);
            files.read(&path, DATA_BYTES_MAX).map_err(|why| format!("{} {why}", path.display()))
        };
        let app = one.app(&read, &secrets.within("channels"), &mut warnings);
        faults.extend(one.faults);
        made.extend(app);
    }
    if let Some(file) = gateway.made.filter(|_| faults.is_empty())
        && let Some(keys) = keys
    {
        return Ok(Compiled {
            mode,
            shards: if let Shards::Fixed(n) = file.shards { Some(n) } else { None },
            listeners: file.listener,
            http: file.http,
            limits: file.limits.a,
            keys,
            api_keys: file.api_key,
            log: file.log,
            apps: made,
            digest: files.digest(),
            warnings: sorted(warnings),
            made_up: secrets.made_up(),
            overrides,
            files: files.seen(),
        });
    }
    Err(sorted(faults))
}

/// What rooms found wrong below `section` of a file.
fn tell(doc: &Doc, section: &str, problems: Vec<Problem>, faults: &mut Vec<Fault>) {
    faults.extend(problems.into_iter().map(|mut p| {
        p.path = match p.path.as_str() {
            "" => section.to_owned(),
            inner if section.is_empty() || inner.starts_with('[') => format!("{section}{inner}"),
            inner => format!("{section}.{inner}"),
        };
        doc.locate(&p)
    }));
}

struct Compiling<'a> {
    sheet: &'a Sheet<AppFile>,
    file: &'a AppFile,
    gateway: &'a Sheet<GatewayFile>,
    keys: Option<&'a auth::Keys>,
    means: &'a Means<'a>,
    faults: Vec<Fault>,
}

type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

impl Compiling<'_> {
    fn tell(&mut self, section: &str, problems: Vec<Problem>) {
        tell(&self.sheet.doc, section, problems, &mut self.faults);
    }

    fn app(&mut self, read: Read, resolve: auth::Resolve, warnings: &mut Vec<Fault>) -> Option<App> {
        let file = self.file;
        // Names count even where the gateway's own file has faults elsewhere.
        let listeners = self.gateway.doc.root.get("listener").and_then(|n| n.table()).unwrap_or_default();
        let listeners: Vec<&str> = listeners.iter().map(|e| e.name.as_str()).collect();
        if !listeners.is_empty() {
            self.tell("", check::names(file, &listeners, &Dialect::BUILT_IN));
        }
        self.tell("limits", check::app_limits(&file.limits));
        tell(&self.sheet.doc, "", check::unused(file), warnings);
        let gateway = self.gateway.made.as_ref();
        let limits = gateway.map(|g| g.limits.b.clone()).unwrap_or_default().with(&file.limits);
        if file.limits != Default::default() {
            tell(&self.sheet.doc, "limits", check::doubtful(&limits), warnings);
        }
        let before = self.means.previous.and_then(|p| p.apps.iter().find(|a| *a.name == *self.sheet.name));
        let tables = auth::Tables::compile(&file.table, read, resolve, self.means.fetcher, before.map(|a| &a.tables));
        let tables = tables.map_err(|p| self.tell("table", p)).ok();
        let auths = self.auths(tables.as_ref(), resolve);
        let dialects = self.dialects();
        let names: Vec<&str> = file.table.keys().map(String::as_str).collect();
        let policy = Policy::compile(file.channel.iter().map(|c| &c.a), &names, &|path| self.origin(path));
        let policy = policy.map_err(|p| self.tell("", p)).ok();
        self.tell("", check::homes(file, policy.as_ref()));
        let settings = self.settings();
        Some(App {
            name: self.sheet.name.as_str().into(),
            file: self.sheet.doc.file.clone(),
            limits,
            origins: file.origins.clone(),
            settings,
            tables: tables?,
            auths,
            dialects,
            policy: Arc::new(policy?),
            classes: file.channel.iter().map(|c| c.b).collect(),
            endpoints: file
                .endpoint
                .iter()
                .cloned()
                .map(|e| listen::EndpointSettings { listener: e.listener.or(file.listener.clone()), ..e })
                .collect(),
            routes: file
                .route
                .iter()
                .cloned()
                .map(|r| api::RouteSettings { listener: r.listener.or(file.listener.clone()), ..r })
                .collect(),
            errors: file.errors.clone(),
            log: file.log.clone(),
        })
    }

    /// Judged only where keys and tables are sound: else every name of theirs would look unknown.
    fn auths(
        &mut self,
        tables: Option<&auth::Tables>,
        resolve: auth::Resolve,
    ) -> BTreeMap<String, Arc<auth::Authenticator>> {
        let (Some(keys), Some(tables)) = (self.keys, tables) else { return BTreeMap::new() };
        let mut made = BTreeMap::new();
        for (name, settings) in &self.file.auth {
            match auth::Authenticator::compile(name, settings, keys, tables, resolve) {
                Ok(auth) => drop(made.insert(name.clone(), Arc::new(auth))),
                Err(problems) => self.tell(&format!("auth.{name}"), problems),
            }
        }
        made
    }

    fn dialects(&mut self) -> BTreeMap<String, Arc<Dialect>> {
        let built_in =
            Dialect::BUILT_IN.iter().filter_map(|name| Some(((*name).to_owned(), Dialect::built_in(name)?.into())));
        let mut made: BTreeMap<String, Arc<Dialect>> = built_in.collect();
        for (name, settings) in &self.file.dialect {
            if Dialect::BUILT_IN.contains(&name.as_str()) {
                self.tell(
                    &format!("dialect.{name}"),
                    vec![
                        Problem::new("", format!("`{name}` is a dialect that Weir brings along"))
                            .expected("another name"),
                    ],
                );
            }
            match Json::compile(settings) {
                Ok(json) => drop(made.insert(name.clone(), Arc::new(Dialect::Json(Box::new(json))))),
                Err(problems) => self.tell(&format!("dialect.{name}"), problems),
            }
        }
        made
    }

    /// `channels/clinic.toml:41:13`, for what refuses later.
    fn origin(&self, path: &str) -> String {
        let at = self.sheet.doc.locate(&Problem::new(path, ""));
        format!("{}:{}:{}", at.file, at.line, at.column)
    }

    /// The app's settings, with `{listener.port}`, `{listener.host}` and `{listener.address}` of its listener filled in.
    fn settings(&self) -> Map<String, Value> {
        let mut settings = self.file.settings.clone();
        let listener = self.file.listener.as_ref().and_then(|name| self.gateway.made.as_ref()?.listener.get(name));
        if let Some(address) = listener.and_then(|l| l.address.parse::<SocketAddr>().ok()) {
            for value in settings.values_mut() {
                if let Value::String(text) = value {
                    *text = text
                        .replace("{listener.port}", &address.port().to_string())
                        .replace("{listener.host}", &address.ip().to_string())
                        .replace("{listener.address}", &address.to_string());
                }
            }
        }
        settings
    }
}
