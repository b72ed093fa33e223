//! One app's file → what the rooms use of it.

use super::compile::{Means, tell};
use super::file::{AppFile, Endpoint, GatewayFile, Mode};
use super::files::Files;
use super::load::Sheet;
use super::{cases, check, lint, plugin_tests, unread};
use crate::dialect::{self, Dialect, Json};
use crate::model::{AppId, Fault, Problem};
use crate::policy::{Policy, Reads, RightKind, Template};
use crate::{api, auth, flow, listen, webhook};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// One app, ready to use.
pub struct App {
    pub flow: Arc<flow::App>,
    /// As faults name it.
    pub file: Arc<str>,
    /// Where its HTTP API and routes are served.
    pub listener: Option<String>,
    /// Each with its listener named; in the order of `flow.endpoints`.
    pub endpoints: Vec<listen::EndpointSettings>,
    pub origins: Option<Vec<String>>,
    pub auths: BTreeMap<String, Arc<auth::Authenticator>>,
    /// As written, with what they have from others; for those who speak them from outside.
    pub dialects: BTreeMap<String, dialect::Settings>,
    /// Services that its handlers call.
    pub webhooks: BTreeMap<Arc<str>, Arc<webhook::Webhook>>,
    /// The name of its plugin, and the webhooks that it may name.
    pub plugin: Option<(String, Vec<String>)>,
    /// How many `[[check]]`s hold.
    pub checks: usize,
    /// How many `[[route]]`s it has; what became of them is in `Compiled::site`.
    pub routes: usize,
}

/// One app's file, and what surrounds it.
pub struct Compiling<'a> {
    pub id: AppId,
    pub sheet: &'a Sheet<AppFile>,
    pub file: &'a AppFile,
    pub gateway: &'a Sheet<GatewayFile>,
    pub keys: Option<&'a auth::Keys>,
    pub means: &'a Means<'a>,
    pub faults: Vec<Fault>,
}

/// The authenticators of an endpoint that are there in this mode.
fn auths_of<'f>(e: &'f Endpoint, file: &'f AppFile, development: bool) -> impl Iterator<Item = &'f String> {
    e.auth.iter().filter(move |name| file.auth.get(*name).is_none_or(|auth| auth.is_there(development)))
}

type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

impl Compiling<'_> {
    pub(super) fn tell(&mut self, section: &str, problems: Vec<Problem>) {
        tell(&self.sheet.doc, section, problems, &mut self.faults);
    }

    /// `rows`: over the rows that `read` has read. `None`: its faults are in `faults`.
    pub fn app(
        &mut self,
        files: &Files,
        read: Read,
        rows: &RefCell<Sha256>,
        resolve: auth::Resolve,
        warnings: &mut Vec<Fault>,
    ) -> Option<App> {
        let file = self.file;
        // Names count even where the gateway's own file has faults elsewhere.
        let listeners = self.gateway.doc.root.get("listener").and_then(|n| n.table()).unwrap_or_default();
        let listeners: Vec<&str> = listeners.iter().map(|e| e.name.as_str()).collect();
        if !listeners.is_empty() {
            self.tell("", check::names(file, &listeners, &Dialect::BUILT_IN));
        }
        self.tell("limits", check::app_limits(&file.limits));
        let development = self.gateway.made.as_ref().is_none_or(|g| g.mode == Mode::Development);
        self.tell("", check::believed(file, development));
        if let Some(gateway) = self.gateway.made.as_ref().filter(|_| !development) {
            let auth = self.sheet.doc.root.get("auth");
            let written = |name: &str| auth.and_then(|auth| auth.get(name)?.get("from")).is_some();
            let (faults, doubts) = check::origins(file, &gateway.http.origins, written);
            self.tell("", faults);
            tell(&self.sheet.doc, "", doubts, warnings);
        }
        tell(&self.sheet.doc, "", check::unused(file), warnings);
        let gateway = self.gateway.made.as_ref();
        let limits = gateway.map(|g| g.limits.b.clone()).unwrap_or_default().with(&file.limits);
        if file.limits != Default::default() {
            tell(&self.sheet.doc, "limits", check::doubtful(&limits), warnings);
        }
        let before = self.means.previous.and_then(|p| p.apps.iter().find(|a| *a.flow.name == *self.sheet.name));
        let tables =
            auth::Tables::compile(&file.table, read, resolve, self.means.fetcher, before.map(|a| &*a.flow.tables));
        let tables = tables.map_err(|p| self.tell("table", p)).ok();
        let auths = self.auths(tables.as_ref(), resolve);
        let webhooks = self.webhooks(resolve);
        let (written, problems) = dialect::Settings::inherited(&file.dialect);
        self.tell("dialect", problems);
        let dialects = self.dialects(&written);
        let settings = self.settings();
        let bounds = gateway.map(|g| g.script.b.clone()).unwrap_or_default().with(&file.script);
        let names: Vec<&str> = file.table.keys().map(String::as_str).collect();
        let policy = Policy::compile(file.channel.iter().map(|c| &c.a), &names, &|path| self.origin(path));
        let policy = policy.map_err(|p| self.tell("", p)).ok().map(Arc::new);
        let sources = RefCell::new(Vec::new());
        let script = self.script((files, &sources), &bounds, &settings, policy.as_ref());
        self.tell("", check::homes(file, policy.as_deref()));
        let subscribe: Vec<_> = (0..file.endpoint.len()).map(|i| self.subscribe(i)).collect();
        let handlers = script.map(|script| self.handlers(script, policy.as_deref(), &dialects));
        let (policy, tables) = (policy?, tables?);
        let tells_vars =
            handlers.as_ref().is_some_and(|h| h.endpoints.iter().any(|e| e.is_bound() && !e.vars.is_empty()));
        let reads = policy.classes().iter().flat_map(|c| RightKind::ALL.map(|right| c.reads(right)));
        let reads_request = reads.fold(Reads::NOTHING, |all, r| all | r).contains(Reads::REQUEST);
        let endpoints: Vec<_> = file.endpoint.iter().zip(subscribe).collect();
        // Connections keep their request where a rule or the channels that they are born with read it.
        let born_with = endpoints.iter().any(|(_, subscribe)| subscribe.iter().any(|s| !s.vars.is_empty()));
        let endpoints = endpoints.into_iter().map(|(e, subscribe)| {
            Some(flow::Endpoint {
                key: self.key(e),
                path: e.path.as_str().into(),
                dialect: dialects.get(&e.dialect)?.clone(),
                auth: auths_of(e, file, development).map(|name| auths.get(name).cloned()).collect::<Option<_>>()?,
                subscribe,
            })
        });
        let app = flow::App {
            id: self.id,
            name: self.sheet.name.as_str().into(),
            endpoints: endpoints.collect::<Option<_>>()?,
            policy,
            classes: file.channel.iter().map(|c| c.b.a).collect(),
            limits,
            settings,
            log: file.log.clone(),
            tables: Arc::new(tables),
            rules: self.rules(rows),
            handlers,
            keeps_requests: reads_request || born_with || tells_vars,
        };
        let endpoints = file.endpoint.iter().map(|e| e.a.clone());
        let app = App {
            flow: Arc::new(app),
            file: self.sheet.doc.file.clone(),
            listener: file.listener.clone(),
            endpoints: endpoints
                .map(|e| listen::EndpointSettings { listener: e.listener.or(file.listener.clone()), ..e })
                .collect(),
            origins: file.origins.clone(),
            auths,
            webhooks,
            dialects: written,
            plugin: file.plugin.clone().map(|name| (name, file.webhook.keys().cloned().collect())),
            checks: file.check.len(),
            routes: file.route.len(),
        };
        self.tell("", cases::run(&file.check, &app, crate::observe::clock()));
        tell(&self.sheet.doc, "", lint::app(file, &app), warnings);
        tell(&self.sheet.doc, "", unread::settings(file, &self.sheet.doc, &sources.into_inner()), warnings);
        tell(&self.sheet.doc, "", check::unanswering(&app.dialects), warnings);
        tell(&self.sheet.doc, "", plugin_tests::untested(file, files), warnings);
        Some(app)
    }

    /// Routes. Judged only where the authenticators that they name are sound.
    pub fn http(&mut self, app: &App, development: bool, resolve: auth::Resolve) -> Option<api::AppHttp> {
        let file = self.file;
        if app.auths.len() < file.auth.len() {
            return None;
        }
        let parts = api::AppParts {
            name: &self.sheet.name,
            listener: file.listener.as_deref(),
            origins: file.origins.as_deref(),
            endpoints: app.endpoints.iter().filter_map(|e| Some((e.listener.as_deref()?, &*e.path))).collect(),
            routes: &file.route,
            errors: &file.errors,
            settings: &app.flow.settings,
            auths: &app.auths,
            tables: &app.flow.tables,
            script: app.flow.handlers.as_ref().map(|h| &*h.script),
        };
        let made = api::AppHttp::compile(parts, &api::Surroundings { development, resolve });
        made.map_err(|p| self.tell("", p)).ok()
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

    /// What a reload knows an endpoint by.
    fn key(&self, e: &listen::EndpointSettings) -> Arc<str> {
        let listener = e.listener.as_deref().or(self.file.listener.as_deref()).unwrap_or_default();
        // In another order, or written otherwise, it is the same condition.
        let mut when = e.when.clone();
        when.header = when.header.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        when.token.has.sort();
        when.token.has.dedup();
        format!("{listener} {} {} {when:?}", e.host.as_deref().unwrap_or("*").to_ascii_lowercase(), e.path).into()
    }

    /// What live subscriptions were decided by.
    fn rules(&self, rows: &RefCell<Sha256>) -> [u8; 32] {
        let mut all = rows.borrow().clone();
        self.file.channel.iter().for_each(|class| all.update(format!("{:?}\0", class.a)));
        self.file.table.iter().for_each(|(name, table)| all.update(format!("{name} {table:?}\0")));
        all.finalize().into()
    }

    /// The channels that connections of an endpoint are born with.
    fn subscribe(&mut self, number: usize) -> Vec<flow::AutoSubscribe> {
        let endpoint = &self.file.endpoint[number];
        // A path that is none is told by the router.
        let Ok(path) = listen::PathPattern::parse(&endpoint.path) else { return Vec::new() };
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        let (mut made, mut problems) = (Vec::new(), Vec::new());
        for (i, text) in endpoint.subscribe.iter().enumerate() {
            let vars = if text.contains('{') { names.iter().map(|n| (*n).into()).collect() } else { Vec::new() };
            match Template::for_endpoint(text, &format!("endpoint[{number}].subscribe[{i}]"), &names) {
                Ok(template) => made.push(flow::AutoSubscribe { template, vars }),
                Err(problem) => problems.push(problem),
            }
        }
        self.tell("", problems);
        made
    }

    fn dialects(&mut self, written: &BTreeMap<String, dialect::Settings>) -> BTreeMap<String, Arc<Dialect>> {
        let built_in =
            Dialect::BUILT_IN.iter().filter_map(|name| Some(((*name).to_owned(), Dialect::built_in(name)?.into())));
        let mut made: BTreeMap<String, Arc<Dialect>> = built_in.collect();
        let mut told: BTreeMap<&str, Vec<Problem>> = BTreeMap::new();
        for (name, settings) in written {
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
                Err(problems) => drop(told.insert(name, problems)),
            }
        }
        for (name, problems) in &told {
            // What is wrong with a dialect is told there, and not again with each that is like it.
            let base = written.get(*name).and_then(|settings| told.get(settings.like.as_deref()?));
            let own = problems.iter().filter(|p| base.is_none_or(|base| !base.contains(p))).cloned().collect();
            self.tell(&format!("dialect.{name}"), own);
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
        // Port 0 is known only once the listener is bound: what is filled in then is `api`'s.
        let address = listener.and_then(|l| l.address.parse::<SocketAddr>().ok());
        if let Some(address) = address.filter(|a| a.port() != 0) {
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
