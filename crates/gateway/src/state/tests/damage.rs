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
    for content in [&b""[..], b"r", b"redb\x1a\x0a\xa9\x0d\x0a", b"# notes\nnot a database\n", &[0; 100_000]]
    {
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
}

/// Turns one bit of `whole` at each of `places`, a byte and a bit in it: each time it is named, or `complete` all the same.
/// How often it was named.
fn turn_bits(whole: &[u8], places: impl IntoIterator<Item = (usize, u32)>, complete: &Loaded) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut named_count = 0;
    for (byte, bit) in places {
        let mut turned = whole.to_vec();
        turned[byte] ^= 1 << bit;
        fs::write(file(&folder), &turned).unwrap();
        match Store::open(folder.path(), at(100)) {
            Ok((_, loaded)) => assert!(loaded == *complete, "bit {bit} of byte {byte}"),
            Err(StateError::Damaged { .. }) => named_count += 1,
            Err(error) => panic!("bit {bit} of byte {byte}: {error}"),
        }
    }
    named_count
}

/// Bytes all over the part of `whole` that is in use, the header's more than others.
fn places(whole: &[u8]) -> Vec<(usize, u32)> {
    let is_used = |byte: &usize| whole[byte & !0xff..][..256].iter().any(|byte| *byte != 0);
    let header = (0..320).step_by(3).zip((0..8).cycle());
    let rest = (320..whole.len()).step_by(331).filter(is_used).zip((0..8).cycle());
    let flags = (0..8).map(|bit| (LATEST.0, bit));
    header.chain(rest).chain(flags).filter(|place| *place != LATEST).collect()
}

#[tokio::test]
async fn o11_a_bit_that_has_turned_is_named_or_nothing_is_lost_for_it() {
    let folder = filled().await;
    let complete = loaded(folder.path(), 100);
    let whole = fs::read(file(&folder)).unwrap();
    let named_count = turn_bits(&whole, places(&whole).into_iter().chain([LATEST]), &complete);
    assert!(named_count > 50, "{named_count}");
}

#[tokio::test]
async fn o11_a_bit_that_has_turned_in_what_a_killed_process_left_is_named_or_nothing_is_lost_for_it() {
    let folder = filled().await;
    let (store, _) = Store::open(folder.path(), at(100)).unwrap();
    keep_all(&store, [Change::Revoke(token("last", None)), Change::Ban(ban("last", None))]).await;
    let whole = fs::read(file(&folder)).unwrap();
    drop(store);
    let complete = loaded(folder.path(), 100);
    let named_count = turn_bits(&whole, places(&whole), &complete);
    assert!(named_count > 50, "{named_count}");
    // The bit that has no copy: after a crash it alone tells the last state from the one before, which is whole too.
    let mut before_last = complete.clone();
    before_last.bans.retain(|ban| ban.subject != "last");
    assert_eq!(turn_bits(&whole, [LATEST], &before_last), 0);
}

/// The byte and the bit that say which of the two last states counts.
const LATEST: (usize, u32) = (9, 0);

#[tokio::test]
async fn o11_a_file_of_a_later_version_is_refused_by_its_number() {
    let folder = filled().await;
    let write = |format: Option<u64>| {
        let database = embedded::builder().open(file(&folder)).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut about = transaction.open_table(embedded::ABOUT).unwrap();
            match format {
                Some(format) => drop(about.insert(embedded::FORMAT_KEY, format).unwrap()),
                None => drop(about.remove(embedded::FORMAT_KEY).unwrap()),
            }
        }
        transaction.commit().unwrap();
    };
    write(Some(7));
    let error = Store::open(folder.path(), at(100)).unwrap_err();
    assert!(matches!(error, StateError::TooNew { found: 7, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("has format 7"), "{error}");
    write(None);
    let error = Store::open(folder.path(), at(100)).unwrap_err();
    assert!(error.to_string().contains("does not say its format"), "{error}");
    write(Some(embedded::FORMAT));
    assert_eq!(loaded(folder.path(), 100).revocations.len(), 40);
}

#[tokio::test]
async fn o11_a_database_that_is_not_ours_or_has_entries_that_are_none_is_named() {
    const ENTRIES: TableDefinition<'_, &str, &str> = TableDefinition::new("revocations");
    let folder = filled().await;
    {
        let database = embedded::builder().open(file(&folder)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ENTRIES).unwrap().insert("token x", "{\"target\":\"moon\"}").unwrap();
        transaction.commit().unwrap();
    }
    let error = Store::open(folder.path(), at(100)).unwrap_err().to_string();
    assert!(error.contains("an entry is not one") && error.contains("moon"), "{error}");
    fs::remove_file(file(&folder)).unwrap();
    drop(embedded::builder().create(file(&folder)).unwrap());
    let error = Store::open(folder.path(), at(100)).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn o11_a_file_that_has_gone_is_not_made_anew_where_it_is_opened_again_after_a_failure() {
    let directory = filled().await;
    let folder = Folder::claim(directory.path()).unwrap();
    folder.prepare().unwrap();
    drop(folder.open().unwrap());
    fs::remove_file(file(&directory)).unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(error, StateError::Unusable { .. }), "{error}");
    assert!(!file(&directory).exists());
}

#[tokio::test]
async fn a_missing_folder_and_its_files_are_made_for_this_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("drawgate-data");
    // What a crash left of a database that was being made is no database.
    let (store, _) = Store::open(&directory, at(100)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(folder::FILE_NAME)), 0o600);
    assert_eq!(mode(&directory.join(folder::LOCK_NAME)), 0o600);
    drop(store);
    fs::rename(directory.join(folder::FILE_NAME), directory.join("state.redb.new")).unwrap();
    File::options().write(true).open(directory.join("state.redb.new")).unwrap().set_len(5000).unwrap();
    assert_eq!(loaded(&directory, 100), Loaded::default());
    assert!(!directory.join("state.redb.new").exists());
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for directory in ["file", "file/below"] {
        let error = Store::open(&folder.path().join(directory), at(100)).unwrap_err();
        assert!(matches!(error, StateError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains(directory), "{error}");
    }
    fs::create_dir_all(folder.path().join("data").join(folder::FILE_NAME)).unwrap();
    let error = Store::open(&folder.path().join("data"), at(100)).unwrap_err();
    assert!(matches!(error, StateError::Unusable { .. }), "{error}");
}

#[test]
fn a_folder_that_is_in_use_says_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), at(100)).unwrap();
    let error = Store::open(folder.path(), at(100)).unwrap_err().to_string();
    let holder = format!("is in use by process {}", std::process::id());
    assert!(error.contains(&holder) && error.contains("state.directory"), "{error}");
    drop(store);
    Store::open(folder.path(), at(100)).unwrap();
}
