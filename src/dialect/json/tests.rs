//! The documents' examples, by the tables that are shipped.
