//! Replays every corpus file, and damage to it, through its target, on the stable compiler.
//!
//! The seeds in corpus/ are what the targets generate (`UPDATE_CORPUS=1` writes them); other files there were found by
//! fuzzing, or belonged to a bug.

use std::fs;
use std::path::{Path, PathBuf};

use drawgate_fuzz::{TARGETS, Target};

#[test]
fn seeds_are_in_the_corpus_as_they_are_generated() {
    for target in TARGETS {
        let folder = folder(target);
        for seed in (target.seeds)() {
            let path = folder.join(&seed.name);
            if std::env::var_os("UPDATE_CORPUS").is_some() {
                fs::create_dir_all(&folder).expect("the corpus can be written");
                fs::write(&path, &seed.bytes).expect("the corpus can be written");
            }
            let written = fs::read(&path).ok();
            assert!(written.as_ref() == Some(&seed.bytes), "{} is stale: UPDATE_CORPUS=1", path.display());
        }
    }
}

#[test]
fn every_corpus_folder_has_a_target() {
    for entry in fs::read_dir(corpus()).expect("there is a corpus") {
        let name = entry.expect("it can be listed").file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "{}", name.display());
    }
}

#[test]
fn every_corpus_file_passes() {
    for_every_file(|target, _, bytes| run(target, bytes));
}

#[test]
fn damage_to_every_corpus_file_passes() {
    for_every_file(|target, place, bytes| {
        let mut random = Random(place.number);
        for _ in 0..target.damages.div_ceil(place.files) {
            let mut damaged = bytes.to_vec();
            for _ in 0..=random.below(4) {
                damage(&mut damaged, &mut random);
            }
            run(target, &damaged);
        }
    });
}

/// Runs the target; names the input if that fails.
fn run(target: &Target, bytes: &[u8]) {
    struct Named<'a>(&'a Target, &'a [u8]);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let front = &self.1[..self.1.len().min(600)];
                eprintln!("target {}, {} bytes: {front:02x?}", self.0.name, self.1.len());
            }
        }
    }
    let _named = Named(target, bytes);
    (target.run)(bytes);
}

/// Where a file stands in its target's corpus.
struct Place {
    number: u64,
    files: usize,
}

/// Calls `test` with each target's files, in order.
fn for_every_file(test: impl Fn(&Target, &Place, &[u8])) {
    for target in TARGETS {
        let listing = fs::read_dir(folder(target)).expect("each target has a corpus");
        let mut paths: Vec<PathBuf> = listing.map(|entry| entry.expect("it can be listed").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} has no corpus", target.name);
        for (number, path) in (0..).zip(&paths) {
            test(target, &Place { number, files: paths.len() }, &fs::read(path).expect("it can be read"));
        }
    }
}

/// Changes, removes, doubles or adds some bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(bytes.len() + 1);
    let end = bytes.len().min(place + random.below(8));
    match random.below(6) {
        0 => bytes.insert(place, random.byte()),
        1 => drop(bytes.drain(place..end)),
        2 => bytes.extend_from_within(place..end),
        3 => bytes.truncate(place),
        4 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = random.byte()),
    }
}

/// `SplitMix64`: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn folder(target: &Target) -> PathBuf {
    corpus().join(target.name)
}

fn corpus() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
}
