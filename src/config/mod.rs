//! (to be written)

pub mod de;
pub mod doc;
pub mod fault;
pub mod schema;
pub mod shape;
