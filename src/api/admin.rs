//! `/admin/config` and `/admin/reload` on admin listeners: which files are in force, and putting changed ones in force.

use super::fail::{Fail, Why, reply_json};
use super::handle::{Context, expect};
use super::request::Request;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a reload came to: what is in force now, or all faults as a list.
pub type Reloading = Pin<Box<dyn Future<Output = Result<Value, Value>> + Send>>;

/// Who reads files. Its answers are JSON for people and their tools.
pub trait Admin: Send + Sync {
    /// `{generation, digest, files, loaded_at, last_reload}`
    fn status(&self) -> Value;
    /// Reads all files again and waits. `by`: the API key's name.
    fn reload(&self, by: &str) -> Reloading;
}

/// The metrics' word and the answer; `None`: another path.
pub(super) async fn admin<G>(context: &Context<G>, request: &Request) -> Option<(&'static str, Response<Full<Bytes>>)> {
    let admin = context.admin.as_ref()?;
    let (word, method) = match request.path.as_str() {
        "/admin/config" => ("admin_config", Method::GET),
        "/admin/reload" => ("admin_reload", Method::POST),
        _ => return None,
    };
    let by = match expect(request, method).and_then(|()| who(context, request)) {
        Ok(by) => by,
        Err(fail) => return Some((word, fail.response())),
    };
    let response = match word {
        "admin_config" => reply_json(200, &admin.status()),
        _ => match admin.reload(&by).await {
            Ok(now) => reply_json(200, &now),
            Err(faults) => faulty(faults),
        },
    };
    Some((word, response))
}

/// The key's name. In development mode nobody needs one.
fn who<G>(context: &Context<G>, request: &Request) -> Result<Arc<str>, Fail> {
    let keys = &context.site.keys;
    match context.generation.development {
        true => keys.of(request)?.map_or(Ok("nobody".into()), |key| key.allows_admin()),
        false => keys.require(request)?.allows_admin(),
    }
}

fn faulty(faults: Value) -> Response<Full<Bytes>> {
    let count = faults.as_array().map_or(0, Vec::len);
    let what = if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") };
    let fail = Fail::new(Why::InvalidConfig, format!("{what}; what was in force still is"));
    let mut problem = fail.to_json();
    problem["faults"] = faults;
    super::fail::reply(fail.why.status(), "application/problem+json", problem.to_string().into())
}
