//! Carries parcels from the outbox to the services that they are for: one signed HTTP POST each, again and again until
//! it is taken or given up.
//!
//! At least once: a receiver that took a parcel but whose answer was lost gets it again, also after a restart. It knows
//! a parcel by the header `webhook-id`. Order is not promised. Leaves to others: writing parcels into the outbox
//! (`script`, through `store`), and reading files (`config`).
//!
//! In: `Settings`, parcels that are committed. Out: HTTP calls, and writes to the store: done, again later, given up.

mod attempt;
mod flight;
mod lane;
mod post;
mod retry;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

pub use post::{Post, Webhooks};
pub use settings::{Retry, Settings, UrlSetting, Webhook, compile};
