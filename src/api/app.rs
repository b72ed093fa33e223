//! One app's part of the HTTP surface.

use super::access::Known;
use super::route::{Errors, Route};
use super::settings::{ErrorReply, RouteSettings};
use crate::auth::{Authenticator, Resolve, Tables};
use crate::model::{Origins, Problem};
use crate::script;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an app's file says that concerns HTTP, the rest of it compiled.
pub struct AppParts<'a> {
    pub name: &'a str,
    /// The file's `listener`.
    pub listener: Option<&'a str>,
    /// The file's `origins`.
    pub origins: Option<&'a [String]>,
    /// Listener and path of each endpoint, in their order.
    pub endpoints: Vec<(&'a str, &'a str)>,
    pub routes: &'a [RouteSettings],
    /// `[errors]`: by code.
    pub errors: &'a BTreeMap<String, ErrorReply>,
    pub settings: &'a Map<String, Value>,
    pub auths: &'a BTreeMap<String, Arc<Authenticator>>,
    pub tables: &'a Tables,
    /// Its plugin.
    pub script: Option<&'a script::App>,
}

/// What all apps share while they are compiled.
pub struct Surroundings<'a> {
    /// `mode = "development"`.
    pub development: bool,
    pub resolve: Resolve<'a>,
}

/// One app's routes and what its verbs need.
pub struct AppHttp {
    pub(super) name: Arc<str>,
    pub(super) endpoints: Vec<(String, String)>,
    pub(super) routes: Vec<Route>,
    pub(super) errors: Errors,
    /// Whose pages may use their visitors' cookies, within those of `[http]`; `None`: all of those.
    pub(super) origins: Option<Origins>,
    pub(super) tables: Tables,
}

impl AppHttp {
    /// All that is wrong at once; paths are the file's: `route[3].reply.uptime`, `errors.not_found`.
    pub fn compile(parts: AppParts<'_>, around: &Surroundings<'_>) -> Result<AppHttp, Vec<Problem>> {
        let mut problems = Vec::new();
        let known = Known {
            auths: parts.auths,
            tables: parts.tables,
            settings: parts.settings,
            development: around.development,
            resolve: around.resolve,
            script: parts.script,
        };
        let mut routes = Vec::new();
        for (at, s) in parts.routes.iter().enumerate() {
            let path = format!("route[{at}]");
            routes.extend(Route::compile(s, &path, parts.listener, &known, &mut problems));
        }
        let errors = Errors::compile(parts.errors, "errors", &mut problems);
        let origins = parts.origins.map(|origins| Origins::compile(origins, "origins")).transpose();
        // Where there are endpoints, their router tells it.
        let told = !parts.endpoints.is_empty();
        let origins = origins.map_err(|problem| problems.extend((!told).then_some(problem))).unwrap_or_default();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(AppHttp {
            name: parts.name.into(),
            endpoints: parts.endpoints.iter().map(|(listener, path)| ((*listener).into(), (*path).into())).collect(),
            routes,
            errors,
            origins,
            tables: parts.tables.clone(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Debug for AppHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "AppHttp({})", self.name)
    }
}
