//! Properties of `event.user` and `event.connection`.

use super::super::current::{Raised, raise};
use super::super::subject::{ConnectionValue, TargetValue, UserValue, VarsValue};
use super::super::wide;
use super::Shelf;
use crate::model::{did_you_mean, one_of};
use rhai::{Dynamic, FuncRegistration, Module};

pub(super) fn add(shelf: &mut Shelf) {
    let module = &mut shelf.module;
    module.set_custom_type::<UserValue>("user").set_custom_type::<ConnectionValue>("connection");
    module.set_custom_type::<VarsValue>("vars").set_custom_type::<TargetValue>("target");
    wide::register(module);
    common(module);
    getter(module, |user: &mut UserValue, name: &str| Ok(user.get(name)));
    getter(module, |vars: &mut VarsValue, name: &str| Ok(vars.get(name)));
    getter(module, |connection: &mut ConnectionValue, name: &str| {
        connection.get(name).ok_or_else(|| {
            let hint = did_you_mean(name, ConnectionValue::FIELDS).map(|h| format!("; {h}")).unwrap_or_default();
            raise(format!("a connection has {}, not `{name}`{hint}", one_of(ConnectionValue::FIELDS)))
        })
    });
}

/// What most handlers read: found at once. Other claims are found after a getter of their name was sought in vain.
const COMMON_CLAIMS: [&str; 4] = ["id", "known", "role", "roles"];

fn common(module: &mut Module) {
    for name in COMMON_CLAIMS {
        FuncRegistration::new_getter(name).set_into_module(module, move |user: &mut UserValue| user.get(name));
    }
    for name in ConnectionValue::FIELDS {
        let get = move |connection: &mut ConnectionValue| connection.get(name).unwrap_or(Dynamic::UNIT);
        FuncRegistration::new_getter(name).set_into_module(module, get);
    }
}

/// `value.name` and `value["name"]`: Rhai asks the indexer where it finds no getter.
fn getter<T: rhai::Variant + Clone>(
    module: &mut Module,
    get: impl Fn(&mut T, &str) -> Result<Dynamic, Raised> + Send + Sync + 'static,
) {
    FuncRegistration::new_index_getter().with_purity(true).set_into_module(module, get);
}
