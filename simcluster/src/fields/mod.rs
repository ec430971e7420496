//! Field ownership: who set which field, as `metadata.managedFields` records it, and server-side apply on top of it.
//!
//! - `set`: sets of field paths, and their `fieldsV1` form
//! - `compare`: which fields two objects differ in, and which fields an applied configuration sets
//! - `managed`: the owners of an object, and how an update or apply changes them
//! - `merge`: laying an applied configuration over an object, and taking away what nobody owns any more

pub mod compare;
pub mod managed;
pub mod merge;
pub mod set;
