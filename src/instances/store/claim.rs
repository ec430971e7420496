pub use super::Instance;
