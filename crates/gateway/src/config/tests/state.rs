//! `[state]`: what outlives the process, and where.

use super::*;
use crate::state;

fn with_state(lines: &str) -> Result<Config, Problems> {
    read(&format!("{LEAST}\n{lines}\n"))
}

#[test]
fn what_outlives_the_process_is_written_out() {
    assert_eq!(read(LEAST).unwrap().state, None);
    assert_eq!(with_state("[state]\nstore = \"none\"").unwrap().state, None);
    for (lines, directory) in [
        ("", "/nowhere/drawgate-data"),
        ("directory = \"kept\"", "/nowhere/kept"),
        ("directory = \"/var/lib/drawgate\"", "/var/lib/drawgate"),
    ] {
        let state = with_state(&format!("[state]\nstore = \"embedded\"\n{lines}")).unwrap().state;
        assert_eq!(state, Some(state::Config { directory: directory.into() }));
    }
}

#[test]
fn what_is_wrong_with_a_state_is_said() {
    for (lines, key, kind) in [
        ("[state]", "state.store", ProblemKind::Missing),
        ("[state]\ndirectory = \"kept\"", "state.store", ProblemKind::Missing),
        ("[state]\nstore = \"disk\"", "state.store", ProblemKind::NotAllowed),
        ("[state]\nstore = true", "state.store", ProblemKind::WrongType),
        ("[state]\nstore = { redis_url = \"x\" }", "state.store.redis_url", ProblemKind::NotSupportedYet),
        ("[state]\nstore = { redis = \"x\" }", "state.store.redis", ProblemKind::UnknownKey),
        ("[state]\nstore = {}", "state.store", ProblemKind::WrongType),
        ("[state]\nstore = \"none\"\ndirectory = \"kept\"", "state.directory", ProblemKind::NotAllowed),
        ("[state]\nstore = \"embedded\"\ndirectory = \"\"", "state.directory", ProblemKind::NotAllowed),
        ("[state]\nstore = \"embedded\"\nfolder = \"x\"", "state.folder", ProblemKind::UnknownKey),
    ] {
        let problem = only(with_state(lines));
        assert_eq!((problem.key.as_str(), problem.kind), (key, kind), "{lines}: {problem}");
    }
}
