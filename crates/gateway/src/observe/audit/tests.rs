//! The files: written and verified, torn by a crash, behind their key, full, and taken away.

use super::*;
use crate::audit::{Flaw, Key};

fn config(folder: &tempfile::TempDir) -> Config {
    let path = |name: &str| folder.path().join(name);
    Config {
        path: path("audit.log"),
        key_file: path("audit.key"),
        bytes_max: 1 << 20,
        when_full: WhenFull::Closed,
    }
}

fn begin(folder: &tempfile::TempDir) -> (Config, Key) {
    let (config, first) = (config(folder), Key::new([7; 32]));
    keep(&config.key_file, &Link::first(first.clone())).unwrap();
    (config, first)
}

fn entries(count: u64) -> VecDeque<Entry> {
    (0..count)
        .map(|number| Entry {
            time: UnixTime::from_seconds(1),
            members: Members::of("test").with("n", number).into_text(),
        })
        .collect()
}

/// Verifies all files of the log, oldest first: how many lines, or the first flaw.
fn verified(config: &Config, first: Key) -> Result<u64, Flaw> {
    let folder = config.path.parent().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("audit.log."))
        .collect();
    files.sort();
    files.push(config.path.clone());
    let mut link = Link::first(first);
    for file in files {
        for line in fs::read_to_string(file).unwrap().lines() {
            link.verify(line.as_bytes())?;
        }
    }
    Ok(link.count())
}

#[test]
fn what_is_written_over_restarts_and_files_is_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let config = Config { bytes_max: 4096, ..config };
    for _ in 0..5 {
        let mut book = Book::open(&config).unwrap();
        for _ in 0..4 {
            book.write(&mut entries(5)).unwrap();
        }
    }
    assert_eq!(verified(&config, first), Ok(100));
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert!(files > 3, "{files} files");
    assert!(fs::metadata(&config.path).unwrap().len() < 4096 + 2048);
}

#[test]
fn a_full_file_of_another_chain_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let config = Config { bytes_max: 4096, ..config };
    let other = folder.path().join("audit.log.000000000001");
    fs::write(&other, "of another chain").unwrap();
    let mut book = Book::open(&config).unwrap();
    let mut waiting = entries(50);
    let error = loop {
        match book.write(&mut waiting) {
            Ok(()) => waiting.extend(entries(50)),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().ends_with("audit.log.000000000001: is there already; move it away"), "{error}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "of another chain");
    fs::remove_file(&other).unwrap();
    book.write(&mut waiting).unwrap();
    assert!(waiting.is_empty());
    assert_eq!(verified(&config, first), Ok(book.link.count()));
}

#[test]
fn a_crash_between_the_lines_and_the_key_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let mut book = Book::open(&config).unwrap();
    book.write(&mut entries(3)).unwrap();
    let error = Book::open(&config).err().unwrap().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    let key_before = fs::read_to_string(&config.key_file).unwrap();
    book.write(&mut entries(2)).unwrap();
    drop(book);
    // The key of line 4 is still there, lines 4 and 5 stand, and a piece of line 6 does.
    fs::write(&config.key_file, key_before).unwrap();
    let mut file = OpenOptions::new().append(true).open(&config.path).unwrap();
    file.write_all(br#"{"seq":6,"time":"20"#).unwrap();
    let mut book = Book::open(&config).unwrap();
    assert_eq!(book.link.count(), 5);
    assert_eq!(Link::from_text(&fs::read_to_string(&config.key_file).unwrap()), Some(book.link.clone()));
    book.write(&mut entries(1)).unwrap();
    assert_eq!(verified(&config, first), Ok(6));
}

#[test]
fn a_log_that_does_not_go_on_from_its_key_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = begin(&folder);
    Book::open(&config).unwrap().write(&mut entries(3)).unwrap();
    let text = fs::read_to_string(&config.path).unwrap();
    let (front, last) = text.split_at(text.len() - "0\"}\n".len());
    let other = if last.starts_with('0') { '1' } else { '0' };
    fs::write(&config.path, format!("{front}{other}\"}}\n")).unwrap();
    let error = Book::open(&config).err().unwrap().to_string();
    assert!(error.contains("its last line is not the one that the key file knows"), "{error}");
    fs::remove_file(&config.key_file).unwrap();
    let error = Book::open(&config).err().unwrap().to_string();
    assert!(error.contains("drawgate audit create"), "{error}");
    fs::write(&config.key_file, "{}").unwrap();
    assert!(Book::open(&config).err().unwrap().to_string().contains("is no key"));
}

#[test]
fn o05_a_full_disk_leaves_the_chain_where_it_was_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let mut book = Book::open(&config).unwrap();
    book.write(&mut entries(2)).unwrap();
    book.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut waiting = entries(3);
    let error = book.write(&mut waiting).unwrap_err();
    assert_eq!((error.kind(), waiting.len(), book.link.count()), (io::ErrorKind::StorageFull, 3, 2));
    book.write(&mut waiting).unwrap();
    assert_eq!((waiting.len(), verified(&config, first)), (0, Ok(5)));
}

#[test]
fn o06_a_file_that_is_taken_away_is_begun_anew_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let mut book = Book::open(&config).unwrap();
    book.write(&mut entries(2)).unwrap();
    let away = folder.path().join("away");
    fs::rename(&config.path, &away).unwrap();
    book.file = None;
    book.write(&mut entries(3)).unwrap();
    // The one that was begun meanwhile is put aside, and the first put back: it goes on from there only where it is the last.
    let begun = fs::read(&config.path).unwrap();
    fs::rename(&away, folder.path().join("audit.log.000000000001")).unwrap();
    assert_eq!(verified(&config, first.clone()), Ok(5));
    book.file = None;
    fs::write(&config.path, &begun[..begun.len() - 10]).unwrap();
    assert!(book.write(&mut entries(1)).is_err(), "what is there is not what was written");
    fs::write(&config.path, &begun).unwrap();
    book.write(&mut entries(1)).unwrap();
    assert_eq!(verified(&config, first), Ok(6));
}

#[test]
fn o05_what_waits_for_a_disk_that_stays_full_is_bounded_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let config = Config { bytes_max: 1, ..config };
    let in_the_way = folder.path().join("audit.log.000000000001");
    fs::write(&in_the_way, "").unwrap();
    let metrics = AuditMetrics::register(&mut Registry::default());
    let mut worker = Worker {
        book: Book::open(&config).unwrap(),
        waiting: entries(1),
        notes: None,
        is_stuck: Arc::default(),
        metrics: metrics.clone(),
        has_told: false,
    };
    worker.write();
    let (queue, jobs) = sync_channel(QUEUE_LENGTH_MAX);
    for round in 0..3 {
        for entry in entries(QUEUE_LENGTH_MAX as u64) {
            queue.try_send(Job::Write(entry)).unwrap();
        }
        let job = jobs.try_recv().ok();
        assert!(worker.take(job, &jobs).is_none());
        worker.write();
        assert!(worker.is_stuck.load(Ordering::Acquire));
        assert_eq!((worker.waiting.len(), metrics.lost.get()), (QUEUE_LENGTH_MAX, round * 8192));
    }
    // Nothing that was taken is left out of the count, and what waited is written.
    let (done, _outcome) = oneshot::channel();
    queue.try_send(Job::End(done)).unwrap();
    assert!(worker.take(None, &jobs).is_some());
    fs::remove_file(&in_the_way).unwrap();
    worker.write();
    assert_eq!(verified(&config, first), Ok(1 + QUEUE_LENGTH_MAX as u64));
}

#[test]
fn the_thread_writes_in_order_counts_and_is_through_when_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (config, first) = begin(&folder);
    let metrics = AuditMetrics::register(&mut Registry::default());
    let audit = Audit::start(&config, metrics.clone(), None, None).unwrap();
    for entry in entries(500) {
        audit.write(entry.time, entry.members);
    }
    assert!(!audit.keeps_out());
    drop(audit);
    assert_eq!((verified(&config, first), metrics.count.get(), metrics.lost.get()), (Ok(500), 500, 0));
    assert_ne!(metrics.head.get(), 0);
}
