//! The `filter` of a broadcast or a disconnect.
//!
//! An empty list names nobody. A filter that names nothing, or whose parts are null, is refused: a program computed it,
//! and found nothing; the caller did not say "everybody". A system whose documents say that empty means all asks for
//! that with `empty_lists = "everybody"`.

use super::args::{Args, wrong};
use super::fail::Fail;
use crate::model::{ChannelName, Filter};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Values of one field, claims of one filter.
pub(super) const NAMES_MAX: usize = 1_000;

const NOTHING: &str = "`filter` names nothing: `users`, `claims` or `channels` is required in it";

/// Takes `filter` and `empty_lists`. `None`: there is no filter at all.
pub(super) fn filter(args: &mut Args<'_>) -> Result<Option<Filter>, Fail> {
    let empty_is_everybody = match args.text("empty_lists")?.as_deref() {
        None | Some("nobody") => false,
        Some("everybody") => true,
        Some(_) => return Err(wrong("empty_lists", "`nobody` or `everybody`")),
    };
    let Some(value) = args.given("filter") else { return Ok(None) };
    let filter = read(value, empty_is_everybody)?;
    match filter.narrows() || empty_is_everybody {
        true => Ok(Some(filter)),
        false => Err(Fail::body(NOTHING)),
    }
}

fn read(value: &RawValue, empty_is_everybody: bool) -> Result<Filter, Fail> {
    // Where empty is everybody, null is what an absent key is.
    let given = |value: &&RawValue| !(empty_is_everybody && value.get() == "null");
    let Some(value) = Some(value).filter(given) else { return Ok(Filter::default()) };
    let mut args = object("filter", value)?;
    let filled = |list: &Vec<String>| !(empty_is_everybody && list.is_empty());
    let mut list = |name: &'static str, path: &str| -> Result<Option<Vec<String>>, Fail> {
        let list = args.given(name).filter(given).map(|value| texts(path, value)).transpose()?;
        Ok(list.filter(filled))
    };
    let users = list("users", "filter.users")?;
    let users = users.map(|users| users.into_iter().map(Arc::from).collect());
    let channels = list("channels", "filter.channels")?;
    let channels = channels.map(|names| channel_names("filter.channels", names)).transpose()?;
    let mut claims = Vec::new();
    if let Some(value) = args.given("claims").filter(given) {
        let mut inner = object("filter.claims", value)?;
        for (claim, value) in inner.rest().filter(|(_, value)| given(value)) {
            let values = values(&claim, value)?;
            if !(empty_is_everybody && values.is_empty()) {
                claims.push((claim.into_owned(), values));
            }
        }
        bounded("filter.claims", claims.len())?;
        if claims.is_empty() && !empty_is_everybody {
            return Err(Fail::body("`filter.claims` names no claim: leave it out for any"));
        }
    }
    args.finish()?;
    Ok(Filter { users, claims, channels, ..Filter::default() })
}

fn object<'a>(name: &str, value: &'a RawValue) -> Result<Args<'a>, Fail> {
    match value.get().starts_with('{') {
        true => Args::of_json(value.get()).map_err(|fail| Fail { position: None, ..fail }),
        false => Err(wrong(name, "an object")),
    }
}

/// One or several.
fn texts(name: &str, value: &RawValue) -> Result<Vec<String>, Fail> {
    let list = match value.get().starts_with('"') {
        true => serde_json::from_str(value.get()).map(|one| vec![one]),
        false => serde_json::from_str(value.get()),
    };
    let list: Vec<String> = list.map_err(|_| wrong(name, "a list of texts"))?;
    bounded(name, list.len()).map(|()| list)
}

/// The values of one claim: one, or several.
fn values(claim: &str, value: &RawValue) -> Result<Vec<Value>, Fail> {
    let name = || format!("filter.claims.{}", claim.escape_debug());
    let values = match serde_json::from_str(value.get()) {
        Ok(Value::Array(values)) => values,
        Ok(value) => vec![value],
        Err(_) => return Err(wrong(&name(), "a value or a list of values")),
    };
    if values.iter().any(Value::is_null) {
        return Err(wrong(&name(), "a value or a list of values, not null"));
    }
    bounded(&name(), values.len()).map(|()| values)
}

/// A malformed name is refused rather than passed over: a filter without it would let more through.
fn channel_names(field: &str, names: Vec<String>) -> Result<Vec<ChannelName>, Fail> {
    bounded(field, names.len())?;
    let names = names.iter().map(|name| ChannelName::parse(name));
    names.collect::<Result<_, _>>().map_err(|bad| Fail::body(format!("`{field}`: {bad}")))
}

pub(super) fn bounded(field: &str, len: usize) -> Result<(), Fail> {
    match len <= NAMES_MAX {
        true => Ok(()),
        false => Err(Fail::body(format!("`{field}` has at most {NAMES_MAX} entries"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<Option<Filter>, String> {
        let mut args = Args::of_json(body).unwrap();
        let filter = filter(&mut args).map_err(|fail| fail.detail)?;
        args.finish().map(|()| filter).map_err(|fail| fail.detail.into())
    }

    #[test]
    fn an_empty_list_names_nobody() {
        for lists in [
            r#"{"users":[]}"#,
            r#"{"channels":[]}"#,
            r#"{"claims":{"role":[]}}"#,
            r#"{"users":["u1"],"channels":[]}"#,
            r#"{"claims":{"role":["admin"],"ward":[]}}"#,
        ] {
            assert!(of(&format!(r#"{{"filter":{lists}}}"#)).unwrap().unwrap().is_nobody(), "{lists}");
        }
        assert_eq!(of("{}"), Ok(None));
        assert!(!of(r#"{"filter":{"users":"u1"}}"#).unwrap().unwrap().is_nobody());
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (filter, says) in [
            ("{}", "names nothing"),
            ("null", "`filter` must be an object"),
            ("[]", "`filter` must be an object"),
            (r#""u1""#, "`filter` must be an object"),
            (r#"{"users":null}"#, "`filter.users` must be a list of texts"),
            (r#"{"users":[null]}"#, "`filter.users` must be a list of texts"),
            (r#"{"users":{}}"#, "`filter.users` must be a list of texts"),
            (r#"{"users":7}"#, "`filter.users` must be a list of texts"),
            (r#"{"channels":null}"#, "`filter.channels` must be a list of texts"),
            (r#"{"channels":["a::b"]}"#, "empty segment"),
            (r#"{"claims":null}"#, "`filter.claims` must be an object"),
            (r#"{"claims":[]}"#, "`filter.claims` must be an object"),
            (r#"{"claims":{}}"#, "`filter.claims` names no claim"),
            (r#"{"claims":{"role":null}}"#, "`filter.claims.role` must be"),
            (r#"{"claims":{"role":["admin",null]}}"#, "`filter.claims.role` must be"),
            (r#"{"claims":{"role":["a"],"role":["b"]}}"#, "comes twice"),
            (r#"{"users":["u1"],"users":[]}"#, "comes twice"),
            (r#"{"userIds":["u1"]}"#, "`userIds` is not known here"),
            (r#"{"users":["u1"],"exclude":"x"}"#, "`exclude` is not known here"),
        ] {
            let told = of(&format!(r#"{{"filter":{filter}}}"#)).unwrap_err();
            assert!(told.contains(says), "{filter}: {told}");
        }
        assert!(
            of(r#"{"filter":{"users":["u"]},"empty_lists":"all"}"#).unwrap_err().contains("`nobody` or `everybody`")
        );
    }

    #[test]
    fn empty_is_everybody_where_that_is_asked_for() {
        for filter in
            ["null", "{}", r#"{"users":[],"channels":null,"claims":{}}"#, r#"{"claims":{"role":[],"ward":null}}"#]
        {
            let body = format!(r#"{{"filter":{filter},"empty_lists":"everybody"}}"#);
            assert_eq!(of(&body), Ok(Some(Filter::default())), "{filter}");
        }
        let some = of(r#"{"filter":{"users":["u1"],"channels":[]},"empty_lists":"everybody"}"#).unwrap().unwrap();
        assert!(some.narrows() && !some.is_nobody());
    }
}
