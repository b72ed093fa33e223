//! What the files came to → what the rooms use.

use crate::config::{self, Compiled, Mode};
use crate::flow::{App, AutoSubscribe, Endpoint, Generation};
use crate::listen::{AppEndpoints, EndpointSettings, Entrance, Front, PathPattern};
use crate::model::{AppId, Problem};
use crate::policy::{Reads, RightKind, Template};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Numbers of apps by name; a name keeps its number for the life of the process.
#[derive(Default)]
pub struct Ids(HashMap<Arc<str>, AppId>);

impl Ids {
    fn of(&mut self, name: &Arc<str>) -> AppId {
        let next = AppId(self.0.len() as u16);
        *self.0.entry(name.clone()).or_insert(next)
    }
}

/// Everything that a request or a command of this loading of the files needs.
pub fn front(compiled: &Compiled, base: &Path, ids: &mut Ids, number: u64) -> Result<Front, String> {
    let mut apps: Vec<Option<Arc<App>>> = Vec::new();
    for made in &compiled.apps {
        let id = ids.of(&made.name);
        apps.resize(apps.len().max(id.0 as usize + 1), None);
        apps[id.0 as usize] = Some(Arc::new(app(made, id)?));
    }
    let endpoints: Vec<AppEndpoints> = (compiled.apps.iter())
        .map(|made| AppEndpoints {
            app: ids.of(&made.name),
            name: &made.name,
            listener: None,
            origins: made.origins.as_deref(),
            endpoints: &made.endpoints,
        })
        .collect();
    let entrance = Entrance::compile(&compiled.listeners, &compiled.http, &endpoints, base)
        .map_err(|problems| problems.iter().map(|(_, p)| told(p)).collect::<Vec<_>>().join("\n"))?;
    let generation = Generation {
        number,
        digest: compiled.digest.to_string(),
        development: compiled.mode == Mode::Development,
        limits: compiled.limits.clone(),
        apps,
    };
    Ok(Front { generation: Arc::new(generation), entrance })
}

fn told(problem: &Problem) -> String {
    let hint = problem.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
    format!("{}: {}{hint}", problem.path, problem.what)
}

fn app(made: &config::App, id: AppId) -> Result<App, String> {
    let endpoints: Vec<Endpoint> =
        made.endpoints.iter().map(|settings| endpoint(made, settings)).collect::<Result<_, _>>()?;
    let reads = |right| made.policy.classes().iter().any(|c| c.reads(right).contains(Reads::REQUEST));
    let vars = endpoints.iter().any(|e| e.subscribe.iter().any(|s| !s.vars.is_empty()));
    Ok(App {
        id,
        name: made.name.clone(),
        endpoints,
        policy: made.policy.clone(),
        classes: made.classes.clone().into(),
        limits: made.limits.clone(),
        settings: made.settings.clone(),
        log: made.log.clone(),
        tables: Arc::new(made.tables.clone()),
        keeps_requests: vars || RightKind::ALL.into_iter().any(reads),
    })
}

fn endpoint(made: &config::App, settings: &EndpointSettings) -> Result<Endpoint, String> {
    let missing = |noun: &str, name: &str| format!("{}: unknown {noun} `{name}`", made.file);
    let dialect = made.dialects.get(&settings.dialect).ok_or_else(|| missing("dialect", &settings.dialect))?;
    let auth = settings.auth.iter().map(|n| made.auths.get(n).cloned().ok_or_else(|| missing("auth", n)));
    let names = PathPattern::parse(&settings.path)?.names;
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let subscribe = settings.subscribe.iter().map(|text| {
        let template = Template::for_endpoint(text, "subscribe", &known).map_err(|p| told(&p))?;
        let vars = if text.contains('{') { names.iter().map(|n| n.as_str().into()).collect() } else { Vec::new() };
        Ok(AutoSubscribe { template, vars })
    });
    Ok(Endpoint {
        path: settings.path.as_str().into(),
        dialect: dialect.clone(),
        auth: auth.collect::<Result<_, _>>()?,
        subscribe: subscribe.collect::<Result<_, String>>()?,
    })
}
