//! Field ownership: who set which field, as `metadata.managedFields` records it, and server-side apply on top of it.
//!
//! - `set`: sets of field paths, the compact form in which they are kept, and how they are written as `fieldsV1`
//! - `merge`: the fields of an object, the difference of two, laying one over another, taking fields away
//! - `owners`: the owners of an object, and how an update or apply changes them

pub mod merge;
pub mod owners;
pub mod set;
