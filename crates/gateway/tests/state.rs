//! kill -9 at any moment: what was acknowledged is on disk, and nothing else is but what was being written.
//!
//! A child process, this same program, keeps changes and prints each when it is acknowledged. The parent kills it, reads
//! what it has printed, opens what it has left, and compares.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests: what fails here should panic"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use drawgate::clock::UnixTime;
use drawgate::session::revocation::{Revocation, SubjectBan, Target};
use drawgate::state::{AddressBan, Change, Loaded, StateError, Store};

/// How many times a child is killed, and how many of them in a row find what the last one left.
const ROUNDS: usize = 240;
const ROUNDS_PER_DIRECTORY: usize = 24;
/// How many tasks of a child keep changes at the same time.
const WRITERS: usize = 4;
/// The directory that a child keeps its changes in, and the number of its round.
const DIRECTORY_VARIABLE: &str = "DRAWGATE_TEST_STATE_DIRECTORY";
const ROUND_VARIABLE: &str = "DRAWGATE_TEST_STATE_ROUND";

const NOW: UnixTime = UnixTime::from_seconds(1000);

/// The change that a writer keeps as its `number`th, from 0 on. Every fourth takes back the ban before it.
fn change(round: usize, writer: usize, number: usize) -> Change {
    let name = |number: usize| format!("round {round} writer {writer} change {number}");
    match number % 4 {
        0 => Change::Revoke(Revocation { target: Target::Token { token_id: name(number) }, until: None }),
        1 => Change::Ban(SubjectBan { subject: name(number), until: None }),
        2 => {
            let reason = "so that the file grows ".repeat(40);
            Change::BanAddress(AddressBan { network: name(number), until: None, reason })
        }
        _ => Change::Unban { subject: name(number - 2) },
    }
}

/// What is there after the first `count` changes of a writer.
fn names(round: usize, writer: usize, count: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for number in 0..count {
        match change(round, writer, number) {
            Change::Revoke(Revocation { target: Target::Token { token_id }, .. }) => names.insert(token_id),
            Change::Ban(ban) => names.insert(ban.subject),
            Change::BanAddress(ban) => names.insert(ban.network),
            Change::Unban { subject } => names.remove(&subject),
            change => panic!("{change:?}"),
        };
    }
    names
}

fn all_names(loaded: Loaded) -> BTreeSet<String> {
    let tokens = loaded.revocations.into_iter().map(|revocation| match revocation.target {
        Target::Token { token_id } => token_id,
        target => panic!("{target:?}"),
    });
    let subjects = loaded.bans.into_iter().map(|ban| ban.subject);
    tokens.chain(subjects).chain(loaded.address_bans.into_iter().map(|ban| ban.network)).collect()
}

/// The child. Started as a test it has nothing to do.
#[test]
#[ignore = "the process that is killed; o10_… starts it"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else { return };
    let round: usize = std::env::var(ROUND_VARIABLE).unwrap().parse().unwrap();
    let (store, _) = Store::open(Path::new(&directory), NOW).unwrap();
    say("open");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for writer in 0..WRITERS {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    match store.keep(change(round, writer, number)).await {
                        Ok(()) => say(&format!("kept {writer} {number}")),
                        // What comes after it would make it unclear what is to be there.
                        Err(error) => return say(&format!("refused {writer} {error}")),
                    }
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

/// One line in one write: what is killed has said it whole, or not at all.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn start(directory: &Path, round: usize) -> Child {
    start_by(Command::new(std::env::current_exe().unwrap()), directory, round)
}

fn start_by(mut command: Command, directory: &Path, round: usize) -> Child {
    command
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY_VARIABLE, directory)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads up to the line `open`; whether it came.
fn wait_until_open(output: &mut impl BufRead) -> bool {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if line.trim_end().ends_with("open") {
            return true;
        }
        line.clear();
    }
    false
}

/// How many changes of each writer were acknowledged.
fn acknowledged(output: &str) -> [usize; WRITERS] {
    let mut counts = [0; WRITERS];
    for line in output.lines() {
        let Some((writer, number)) = line.strip_prefix("kept ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let (writer, number): (usize, usize) = (writer.parse().unwrap(), number.parse().unwrap());
        assert_eq!(counts[writer], number, "in their order");
        counts[writer] = number + 1;
    }
    counts
}

/// In memory where the system has that: whoever is killed loses nothing that it has written, synced or not, so a disk would
/// only make the rounds longer. What a disk loses is shown by the tests of the library itself.
fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn o10_kill_9_at_any_moment_loses_nothing_that_was_acknowledged_and_adds_nothing() {
    let mut random = std::process::id().wrapping_mul(2_654_435_761) | 1;
    let mut draw = |below: u32| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random % below
    };
    let begun_at = Instant::now();
    let (mut acknowledged_count, mut unacknowledged_count) = (0, 0);
    for first_round in (0..ROUNDS).step_by(ROUNDS_PER_DIRECTORY) {
        let folder = fast_folder();
        let directory = folder.path().join("state");
        let mut expected = BTreeSet::new();
        for round in first_round..first_round + ROUNDS_PER_DIRECTORY {
            let mut child = start(&directory, round);
            let mut output = BufReader::new(child.stdout.take().unwrap());
            // A quarter is killed while it starts, and opens or makes the files.
            if draw(4) == 0 {
                sleep(Duration::from_micros(draw(30_000).into()));
            } else {
                assert!(wait_until_open(&mut output), "round {round}: the child ended");
                sleep(Duration::from_micros(draw(25_000).into()));
            }
            child.kill().unwrap();
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            child.wait().unwrap();
            let (_, loaded) = Store::open(&directory, NOW)
                .unwrap_or_else(|error| panic!("round {round}: {error} ({:?})", rest.lines().last()));
            let left = all_names(loaded);
            for (writer, count) in acknowledged(&rest).into_iter().enumerate() {
                let of_writer = format!("round {round} writer {writer} ");
                let of_writer: BTreeSet<_> =
                    left.iter().filter(|name| name.starts_with(&of_writer)).cloned().collect();
                // The next one had been asked for.
                let is_next_there = of_writer == names(round, writer, count + 1);
                assert!(
                    is_next_there || of_writer == names(round, writer, count),
                    "round {round}, writer {writer}: {count} acknowledged, {of_writer:?}"
                );
                acknowledged_count += count;
                unacknowledged_count += usize::from(is_next_there);
                expected.extend(of_writer);
            }
            assert!(left == expected, "round {round}: what earlier rounds had left is not the same");
        }
    }
    let took = begun_at.elapsed();
    println!("{acknowledged_count} acknowledged, {unacknowledged_count} more on disk, {took:?}");
    assert!(acknowledged_count > ROUNDS, "{acknowledged_count} in {ROUNDS} rounds: too few to show anything");
    assert!(unacknowledged_count > 0, "no child was killed between a commit and its acknowledgement");
}

#[test]
fn o10_a_second_process_is_refused_and_told_which_one_has_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), 0);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert!(wait_until_open(&mut output));
    let error = Store::open(folder.path(), NOW).unwrap_err();
    assert!(matches!(error, StateError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    Store::open(folder.path(), NOW).unwrap();
}

/// A child whose files may not grow beyond some megabytes. It ignores the signal for that, and is told by an error then, as
/// it is by a disk that is full.
fn start_where_files_are_bounded(directory: &Path, round: usize) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]);
    shell.arg(std::env::current_exe().unwrap());
    start_by(shell, directory, round)
}

#[test]
fn o05_a_disk_that_is_full_is_an_error_loses_nothing_that_was_acknowledged_and_is_no_obstacle_at_the_start() {
    let folder = fast_folder();
    let mut child = start_where_files_are_bounded(folder.path(), 0);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert!(wait_until_open(&mut output));
    let (mut said, mut refused) = (String::new(), BTreeSet::new());
    while refused.len() < WRITERS {
        let at = said.len();
        assert!(output.read_line(&mut said).unwrap() > 0, "the child ended: {:?}", &said[..at]);
        if let Some(refusal) = said[at..].strip_prefix("refused ") {
            let (writer, error) = refusal.split_once(' ').unwrap();
            assert!(error.contains("state.redb could not be written"), "{error}");
            refused.insert(writer.to_owned());
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Still full, and whoever starts now keeps out whom the last one kept out.
    let mut child = start_where_files_are_bounded(folder.path(), 1);
    assert!(wait_until_open(&mut BufReader::new(child.stdout.take().unwrap())));
    child.kill().unwrap();
    child.wait().unwrap();
    let left = all_names(Store::open(folder.path(), NOW).unwrap().1);
    let counts = acknowledged(&said);
    assert!(counts.iter().sum::<usize>() > 100, "{counts:?}");
    for (writer, count) in counts.into_iter().enumerate() {
        let lost: Vec<_> = names(0, writer, count).difference(&left).cloned().collect();
        // Of the change that was refused only an end of a ban can take something away.
        let refused = change(0, writer, count);
        let is_refused = |name: &String| matches!(&refused, Change::Unban { subject } if subject == name);
        assert!(lost.iter().all(is_refused), "writer {writer}, {count} acknowledged: {lost:?}");
    }
}
