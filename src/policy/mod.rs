//! (to be written)

mod settings;

pub use settings::{ChannelSettings, RefuseSettings};
