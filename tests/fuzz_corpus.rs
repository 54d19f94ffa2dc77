//! Runs the fuzz targets of `fuzz/` without a fuzzer: on every input in `tests/corpus/`, which is what was found or is
//! worth starting from, and on some thousands that a seed makes. `FUZZ_ROUNDS` in the environment asks for another
//! number of these. To make a test of an input that a fuzzer has found, put it into the target's folder.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod fuzz;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// The inputs that are kept for a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has no input");
    inputs
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// An input of the corpus with a few changes, or nothing but noise.
    fn input(&mut self, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
        if self.below(3) == 0 {
            let length = self.below(300);
            return self.bytes(length);
        }
        let mut input = corpus[self.below(corpus.len())].1.clone();
        for _ in 0..1 + self.below(4) {
            let place = self.below(input.len() + 1);
            let upto = (place + self.below(8)).min(input.len());
            let length = self.below(8);
            let other = match self.below(3) {
                0 => Vec::new(),
                1 => self.bytes(length),
                _ => {
                    let from = &corpus[self.below(corpus.len())].1;
                    let start = self.below(from.len() + 1);
                    from[start..(start + 4 * length).min(from.len())].to_vec()
                }
            };
            input.splice(place..upto, other);
        }
        input
    }
}

fn runs(target: &str, rounds: usize) {
    let (_, run) = *fuzz::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let corpus = corpus(target);
    for (name, input) in &corpus {
        println!("{name}");
        run(input);
    }
    let rounds = std::env::var("FUZZ_ROUNDS").map_or(rounds, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ ((round as u64 + 1) << 20));
        random.bytes(4);
        let input = random.input(&corpus);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
            println!("{target}: the input of round {round} is {}", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

#[test]
fn cursor_text() {
    runs("cursor", 2_000);
}

#[test]
fn import_lines() {
    runs("import", 300);
}

#[test]
fn columns_read_back() {
    runs("columns", 500);
}

#[test]
fn legacy_files() {
    runs("legacy", 500);
}

#[test]
fn damaged_databases() {
    runs("database", 100);
}
