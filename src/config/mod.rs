//! (to be written)

pub mod both;
pub mod de;
pub mod doc;
pub mod env;
pub mod fault;
pub mod file;
pub mod files;
pub mod schema;
pub mod secret;
pub mod shape;
