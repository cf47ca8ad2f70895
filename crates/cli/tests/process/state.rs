//! O: the folder of what outlives the process, as the program makes it, gives it up and refuses it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::{Program, drawgate, echo};

fn config() -> String {
    echo("", "[state]\nstore = \"embedded\"")
}

/// What becomes of another program with the configuration in `folder`.
fn run_again(folder: &Path) -> Output {
    drawgate().args(["run", "--config"]).arg(folder.join("drawgate.toml")).output().unwrap()
}

fn assert_refused(output: &Output, told: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for told in told {
        assert!(stderr.contains(told), "{told:?} is not in {stderr}");
    }
}

#[test]
fn o10_the_folder_is_made_beside_the_configuration_and_free_again_however_the_program_ends() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM, Signal::KILL] {
        let mut program = Program::start_in(Arc::clone(&folder), &config());
        let mut client = program.open();
        client.echo(b"here");
        let id = program.id();
        let told = format!("drawgate-data is in use by process {id}: stop that one");
        assert_refused(&run_again(folder.path()), &[&told, "state.directory"]);
        client.close();
        program.signal(signal);
        program.wait();
    }
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("drawgate-data"), mode("drawgate-data/state.redb")), (0o700, 0o600));
}

#[test]
fn o11_a_damaged_file_is_named_with_what_to_do_and_is_left_as_it_is() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut program = Program::start_in(Arc::clone(&folder), &config());
    program.signal(Signal::TERM);
    program.wait();
    let file = folder.path().join("drawgate-data/state.redb");
    let mut content = fs::read(&file).unwrap();
    content.truncate(content.len() / 2);
    for content in [content, Vec::new()] {
        fs::write(&file, &content).unwrap();
        let named = format!("error: {} is damaged (", file.display());
        assert_refused(&run_again(folder.path()), &[&named, "put a backup in its place, or move it away"]);
        assert_eq!(fs::read(&file).unwrap(), content);
    }
    // Moved away, it is what was asked for: a start without what was in it.
    fs::rename(&file, folder.path().join("damaged")).unwrap();
    Program::start_in(folder, &config()).open().echo(b"here");
}
