//! What the targets do is with the tests, which run it too.

#[path = "../../tests/fuzz/mod.rs"]
pub mod fuzz;
