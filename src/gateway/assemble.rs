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
    let count = compiled.numbers.values().map(|n| usize::from(*n) + 1).max().unwrap_or(0);
    let generation = Generation {
        number,
        digest: compiled.digest.to_string(),
        development: compiled.mode == Mode::Development,
        limits: compiled.limits.clone(),
        revoke: compiled.reload.revoke,
        listeners: (0..count as u16).map(|number| compiled.entrance.listener(number).is_some()).collect(),
        apps,
    };
    Front { generation: Arc::new(generation), entrance: compiled.entrance.clone(), site: compiled.site.clone() }
}
