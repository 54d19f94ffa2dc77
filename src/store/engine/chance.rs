//! Chance, as the standard library has it for its maps.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that differs between threads and processes, except by chance.
pub(super) fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}
