//! (to be written)

mod settings;

pub use settings::{ApiKeySettings, ErrorReply, RouteSettings};
