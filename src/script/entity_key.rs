//! stand-in until `workers` is merged
use super::Event;
use crate::model::Refusal;
use std::sync::Arc;
pub struct EntityKey;
impl EntityKey {
    pub fn key(&self, _e: &Event) -> Result<Arc<str>, Refusal> {
        Ok("x:y".into())
    }
}
