//! Users, sessions, tokens, roles: who is calling, and what that role may do.

pub mod password;
pub mod principal;
pub mod tokens;

pub use principal::{Admin, Customer, Principal, Role, Staff};
