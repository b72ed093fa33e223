//! (to be written)

mod settings;

pub use settings::{EndpointSettings, HttpSettings, ListenerSettings, ProxyProtocol, TlsSettings, TokenSettings, WhenSettings};
