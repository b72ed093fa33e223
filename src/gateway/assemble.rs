//! What the files came to → what a request or a command of this loading of them needs.

use crate::config::{Compiled, Mode};
use crate::flow::{App, Generation};
use crate::listen::Front;
use std::sync::Arc;

pub fn front(compiled: &Compiled, number: u64) -> Front {
    let mut apps: Vec<Option<Arc<App>>> = Vec::new();
    for app in compiled.apps.iter().map(|a| &a.flow) {
        let place = app.id.0 as usize;
        apps.resize(apps.len().max(place + 1), None);
        apps[place] = Some(app.clone());
    }
    let generation = Generation {
        number,
        digest: compiled.digest.to_string(),
        development: compiled.mode == Mode::Development,
        limits: compiled.limits.clone(),
        apps,
    };
    Front { generation: Arc::new(generation), entrance: compiled.entrance.clone(), site: compiled.site.clone() }
}
