//! Pages of other sites, and what a browser adds to their requests by itself.
//!
//! A browser sends cookies along with any page's request, and on a developer's machine there is nothing to send at all:
//! nobody needs a key there. So whoever lures a visitor to a page would act in the visitor's name; a form or a fetch with
//! `text/plain` needs no preflight. What a cookie or development mode lets in is held to the same origins as an upgrade.
//! What brings a key or a token of its own is not: no browser adds those.

use super::app::AppHttp;
use super::fail::{Fail, Why};
use super::request::Request;
use crate::model::{Origins, is_loopback_origin};
use hyper::header::{COOKIE, ORIGIN};

/// Whose pages may.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// Those of `[http]`.
    pub general: Origins,
    pub development: bool,
}

impl Pages {
    /// Whether a page that is not one of ours sent this. `app`: whose origins narrow those of `[http]`.
    pub(super) fn is_foreign(&self, request: &Request, app: Option<&AppHttp>) -> bool {
        let mut origins = request.headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            // A browser that leaves the origin out, as for an image or a link, still says this (Fetch Metadata).
            return request.headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site");
        };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return true };
        let own = app.and_then(|app| app.origins.as_ref());
        let allowed = self.general.allows(origin) && own.is_none_or(|own| own.allows(origin));
        // `*` is for pages that bring a token of their own. On a developer's machine it means the developer's pages.
        let named = self.general.lists(origin) || own.is_some_and(|own| own.lists(origin));
        !(allowed && (named || self.development && is_loopback_origin(origin)))
    }

    /// Lets in nobody without credentials where a foreign page asks: in development mode.
    pub(super) fn without_key(&self, request: &Request, app: Option<&AppHttp>) -> Result<(), Fail> {
        match self.is_foreign(request, app) {
            false => Ok(()),
            true => Err(Fail::new(Why::Forbidden, "A page of another origin needs a key, in development mode too")),
        }
    }
}

/// The request's headers without its cookies; `None` where it has none.
pub(super) fn without_cookies(request: &Request) -> Option<hyper::HeaderMap> {
    let mut headers = request.headers.clone();
    headers.remove(COOKIE).map(|_| headers)
}

pub(super) fn foreign_cookie() -> Fail {
    Fail::new(Why::Forbidden, "Pages of this origin may not use a cookie here")
}
