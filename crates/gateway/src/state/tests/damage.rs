//! Files that are not as they were written, and folders that are another's.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;

use redb::TableDefinition;

use super::*;

/// A folder with entries of every kind in it, whose store has been given up.
async fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), at(100)).unwrap();
    for number in 0..40 {
        let name = format!("name {number}");
        let changes = [
            Change::Revoke(token(&name, Some(1000))),
            Change::Ban(ban(&name, None)),
            Change::BanAddress(address_ban(&name, None)),
        ];
        keep_all(&store, changes).await;
    }
    folder
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(folder::FILE_NAME)
}

/// What is said of the file in `folder`, which is the same afterwards as before.
fn refused(folder: &tempfile::TempDir) -> StateError {
    let before = fs::read(file(folder)).unwrap();
    let error = Store::open(folder.path(), at(100)).unwrap_err();
    assert!(fs::read(file(folder)).unwrap() == before, "changed, and refused: {error}");
    error
}

#[track_caller]
fn assert_damaged(folder: &tempfile::TempDir, detail: &str) {
    let error = refused(folder).to_string();
    let name = file(folder).display().to_string();
    assert!(error.starts_with(&format!("{name} is damaged (")), "{error}");
    assert!(error.contains("backup") && error.contains("move it away"), "{error}");
    assert!(error.contains(detail), "{error}");
}

#[tokio::test]
async fn o11_a_file_that_is_empty_or_another_s_is_named_and_left_alone() {
    let folder = filled().await;
    for content in [&b""[..], b"r", b"redb\x1a\x0a\xa9\x0d\x0a", b"# notes\nnot a database\n", &[0; 100_000]] {
        fs::write(file(&folder), content).unwrap();
        assert_damaged(&folder, "");
    }
}

#[tokio::test]
async fn o11_a_file_that_is_cut_short_is_named_and_left_alone() {
    let folder = filled().await;
    let whole = fs::read(file(&folder)).unwrap();
    let step = whole.len() / 60;
    for length in (1..whole.len()).step_by(step).chain([whole.len() - 1, whole.len() - 4096, 4096]) {
        fs::write(file(&folder), &whole[..length]).unwrap();
        assert_damaged(&folder, "");
    }
    fs::write(file(&folder), [&whole[..], &[0; 4096]].concat()).unwrap();
    let _ = Store::open(folder.path(), at(100));
}

#[tokio::test]
async fn o11_a_bit_that_has_turned_is_named_or_nothing_is_lost_for_it() {
    let folder = filled().await;
    let complete = loaded(folder.path(), 100);
    let whole = fs::read(file(&folder)).unwrap();
    let is_used = |at: &usize| *at < 512 || whole[at & !0xff..][..256].iter().any(|byte| *byte != 0);
    let mut named_count = 0;
    for at_byte in (0..whole.len()).filter(is_used).filter(|at| *at < 512 || at % 61 == 0) {
        let mut turned = whole.clone();
        turned[at_byte] ^= 1 << (at_byte % 8);
        fs::write(file(&folder), &turned).unwrap();
        match Store::open(folder.path(), at(100)) {
            Ok((_, loaded)) => assert_eq!(loaded, complete, "byte {at_byte}"),
            Err(error) => {
                assert!(matches!(error, StateError::Damaged { .. }), "byte {at_byte}: {error}");
                named_count += 1;
            }
        }
    }
    assert!(named_count > 100, "{named_count}");
}
