//! Properties of `event.user` and `event.connection`.

use super::super::current::{Raised, raise};
use super::super::subject::{ConnectionValue, TargetValue, UserValue, VarsValue};
use super::Shelf;
use crate::model::{did_you_mean, one_of};
use rhai::{Dynamic, FuncRegistration, Module};

pub(super) fn add(shelf: &mut Shelf) {
    let module = &mut shelf.module;
    module.set_custom_type::<UserValue>("user").set_custom_type::<ConnectionValue>("connection");
    module.set_custom_type::<VarsValue>("vars").set_custom_type::<TargetValue>("target");
    getter(module, |user: &mut UserValue, name: &str| Ok(user.get(name)));
    getter(module, |vars: &mut VarsValue, name: &str| Ok(vars.get(name)));
    getter(module, |connection: &mut ConnectionValue, name: &str| {
        connection.get(name).ok_or_else(|| {
            let hint = did_you_mean(name, ConnectionValue::FIELDS).map(|h| format!("; {h}")).unwrap_or_default();
            raise(format!("a connection has {}, not `{name}`{hint}", one_of(ConnectionValue::FIELDS)))
        })
    });
}

/// `value.name` and `value["name"]`: Rhai asks the indexer where it finds no getter.
fn getter<T: rhai::Variant + Clone>(
    module: &mut Module,
    get: impl Fn(&mut T, &str) -> Result<Dynamic, Raised> + Send + Sync + 'static,
) {
    FuncRegistration::new_index_getter().with_purity(true).set_into_module(module, get);
}
