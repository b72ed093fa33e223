//! (to be written)

mod settings;

pub use settings::Settings;
