//! What the outer tests stand on: the real binary on a copied configuration, clients that are not ours, and the
//! comparison of what came with what was expected.

pub mod client;
pub mod gateway;
pub mod live;
pub mod rows;
pub mod script;
pub mod words;
