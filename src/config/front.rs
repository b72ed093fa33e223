//! What the files came to → what a request or a command of this loading of them needs.

use super::compile::Compiled;
use super::file::Mode;
use crate::flow::{App, Generation};
use crate::listen::Front;
use std::sync::Arc;

impl Compiled {
    /// As generation `number`.
    pub fn front(&self, number: u64) -> Front {
        let mut apps: Vec<Option<Arc<App>>> = Vec::new();
        for app in self.apps.iter().map(|a| &a.flow) {
            let place = app.id.0 as usize;
            apps.resize(apps.len().max(place + 1), None);
            apps[place] = Some(app.clone());
        }
        let count = self.numbers.values().map(|n| usize::from(*n) + 1).max().unwrap_or(0);
        let generation = Generation {
            number,
            digest: self.digest.to_string(),
            development: self.mode == Mode::Development,
            limits: self.limits.clone(),
            revoke: self.reload.revoke,
            listeners: (0..count as u16).map(|number| self.entrance.listener(number).is_some()).collect(),
            apps,
            keys: self.keys.clone(),
        };
        Front { generation: Arc::new(generation), entrance: self.entrance.clone(), site: self.site.clone() }
    }
}
