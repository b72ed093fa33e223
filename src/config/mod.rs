//! (to be written)

pub mod de;
pub mod doc;
pub mod fault;
