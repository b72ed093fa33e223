//! A decision as if somebody asked: what `[[check]]` and `weir explain` put in a client's place.

use super::app::App;
use crate::flow::{KeptRequest, Rows};
use crate::listen::PathPattern;
use crate::model::{ChannelName, Identity, Now, Refusal, canonical_path, percent_decode, query_pairs};
use crate::policy::{Asking, Explanation, History, Policy, Presence, Publish, RequestView, RightKind, Subscribe};
use std::net::Ipv4Addr;

/// Somebody, perhaps with a request, at a time. Rows behind a URL are not asked for: they are missing.
pub struct AsIf {
    pub identity: Identity,
    request: Option<KeptRequest>,
    pub now: Now,
}

impl AsIf {
    /// `request`: a path and perhaps a query, as the connection was opened with. The endpoint of `app` that such a
    /// connection has gives the path's variables. Err: what is wrong with `request`.
    pub fn new(app: &App, identity: Identity, request: Option<&str>, now: Now) -> Result<AsIf, String> {
        let request = request.map(|text| request_of(app, text)).transpose()?;
        Ok(AsIf { identity, request, now })
    }

    /// Err: what the client would read, with the rule that refused. Ok: the channel, an alias resolved.
    pub fn decide(&self, app: &App, right: RightKind, on: &ChannelName) -> Result<ChannelName, Refusal> {
        let policy = &app.flow.policy;
        self.with(app, |asking| match right {
            RightKind::Subscribe => policy.decide::<Subscribe>(on, asking, 0).map(|p| p.channel().clone()),
            RightKind::Publish => policy.decide::<Publish>(on, asking, 0).map(|p| p.channel().clone()),
            RightKind::History => policy.decide::<History>(on, asking, 0).map(|p| p.channel().clone()),
            RightKind::Presence => policy.decide::<Presence>(on, asking, 0).map(|p| p.channel().clone()),
        })
    }

    pub fn explain(&self, app: &App, right: RightKind, on: &ChannelName) -> Explanation {
        self.with(app, |asking| Policy::explain(&app.flow.policy, right, on, asking))
    }

    fn with<T>(&self, app: &App, then: impl FnOnce(&Asking<'_>) -> T) -> T {
        let rows = Rows::as_they_are(&app.flow.tables, self.now.mono);
        let request = self.request.as_ref().map(|r| r as &dyn RequestView);
        then(&Asking { identity: &self.identity, request, tables: &rows, now: self.now.wall })
    }
}

/// `/progress/r1?plan=gold`, from this machine, without headers. Decoded as those of clients are.
fn request_of(app: &App, text: &str) -> Result<KeptRequest, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is no request: a path starts with `/`"));
    }
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let query = query_pairs(query).map(|(name, value)| (name.as_ref().into(), value.as_ref().into())).collect();
    let mut patterns: Vec<PathPattern> =
        app.endpoints.iter().filter_map(|e| PathPattern::parse(&e.path).ok()).collect();
    patterns.sort_by(PathPattern::precedence);
    let vars = patterns.iter().find_map(|pattern| vars(pattern, &canonical_path(path))).unwrap_or_default();
    Ok(KeptRequest { path: path.into(), query, headers: Vec::new(), vars, ip: Ipv4Addr::LOCALHOST.into() })
}

/// The variables of a path that the pattern matches.
fn vars(pattern: &PathPattern, path: &str) -> Option<Vec<(Box<str>, Box<str>)>> {
    let mut router = matchit::Router::new();
    router.insert(&pattern.shape, ()).ok()?;
    let found = router.at(path).ok()?;
    let values = found.params.iter().map(|(_, value)| percent_decode(value));
    pattern.names.iter().zip(values).map(|(name, value)| Some((name.as_str().into(), value?.as_ref().into()))).collect()
}
