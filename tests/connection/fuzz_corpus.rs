//! Runs the fuzz targets of `fuzz/` without a fuzzer: on every input in `tests/corpus/`, which is what was found or is
//! worth starting from, and on some thousands that a seed makes. `FUZZ_ROUNDS` in the environment asks for another
//! number of these. To make a test of an input that a fuzzer has found, put it into the target's folder.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::common::Random;
use crate::fuzz;

/// The inputs that are kept for a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has no input");
    inputs
}

/// An input of the corpus with a few changes, or nothing but noise.
fn input(random: &mut Random, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
    let noise = |random: &mut Random, length| (0..length).map(|_| random.byte()).collect::<Vec<_>>();
    if random.below(3) == 0 {
        let length = random.below(300);
        return noise(random, length);
    }
    let mut input = corpus[random.index(corpus.len())].1.clone();
    for _ in 0..1 + random.below(4) {
        let place = random.index(input.len() + 1);
        let upto = (place + random.index(8)).min(input.len());
        let length = random.index(8);
        let other = match random.below(3) {
            0 => Vec::new(),
            1 => noise(random, length as u64),
            _ => {
                let from = &corpus[random.index(corpus.len())].1;
                let start = random.index(from.len() + 1);
                from[start..(start + 4 * length).min(from.len())].to_vec()
            }
        };
        input.splice(place..upto, other);
    }
    input
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
        let input = input(&mut Random::new(round as u64), &corpus);
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
