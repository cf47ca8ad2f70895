//! A disk that forgets: what was written and not synced is lost in a crash, whole or in part.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use redb::{BackendError, Durability, StorageBackend};

use super::*;

/// A disk, and what has become of it.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// What a crash leaves.
    durable: Vec<u8>,
    /// What is read while there is power.
    cached: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Operation>,
    operations_count: usize,
    crash_after: Option<usize>,
    is_failing: bool,
}

#[derive(Clone, Debug)]
enum Operation {
    Write { offset: usize, data: Vec<u8> },
    SetLength(usize),
}

impl Operation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLength(length) => bytes.resize(*length, 0),
            Self::Write { offset, data } => {
                // What lies beyond the end went with the growth that would have made room for it.
                let end = (offset + data.len()).min(bytes.len());
                if let Some(target) = bytes.get_mut(*offset..end) {
                    target.copy_from_slice(&data[..target.len()]);
                }
            }
        }
    }

    /// The sectors that it writes, each of which a crash may or may not spare.
    fn sectors(&self) -> Vec<Self> {
        match self {
            Self::SetLength(_) => vec![self.clone()],
            Self::Write { offset, data } => {
                let sectors = data.chunks(512).zip(0..);
                sectors
                    .map(|(data, at)| Self::Write { offset: offset + at * 512, data: data.to_vec() })
                    .collect()
            }
        }
    }
}

impl Disk {
    fn holding(durable: Vec<u8>, crash_after: Option<usize>) -> Self {
        let cached = durable.clone();
        Self(Arc::new(Mutex::new(Platter { durable, cached, crash_after, ..Platter::default() })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    /// An operation that changes it, unless it has crashed.
    fn operate(&self, operate: impl FnOnce(&mut Platter)) -> Result<(), BackendError> {
        let mut platter = self.platter();
        platter.check()?;
        operate(&mut platter);
        platter.operations_count += 1;
        Ok(())
    }

    /// What a crash leaves: what was synced, and of the rest what `is_spared`.
    fn after_crash(&self, mut is_spared: impl FnMut() -> bool) -> Vec<u8> {
        let platter = self.platter();
        let mut left = platter.durable.clone();
        for part in platter.unsynced.iter().flat_map(Operation::sectors) {
            if is_spared() {
                part.apply(&mut left);
            }
        }
        left
    }
}

impl Platter {
    fn check(&self) -> Result<(), BackendError> {
        let has_crashed = self.crash_after.is_some_and(|count| self.operations_count >= count);
        if has_crashed || self.is_failing {
            return Err(BackendError::Io(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    fn do_unsynced(&mut self, operation: Operation) {
        operation.apply(&mut self.cached);
        self.unsynced.push(operation);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, BackendErrorOfReads> {
        Ok(self.platter().cached.len().try_into().unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BackendErrorOfReads> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.platter().cached[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), BackendErrorOfReads> {
        let length = usize::try_from(length).unwrap();
        Ok(self.operate(|platter| platter.do_unsynced(Operation::SetLength(length)))?)
    }

    fn sync_data(&self) -> Result<(), BackendErrorOfReads> {
        Ok(self.operate(|platter| {
            platter.durable = platter.cached.clone();
            platter.unsynced.clear();
        })?)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), BackendErrorOfReads> {
        let (offset, data) = (usize::try_from(offset).unwrap(), data.to_vec());
        Ok(self.operate(|platter| platter.do_unsynced(Operation::Write { offset, data }))?)
    }
}

/// What this trait's methods fail with.
type BackendErrorOfReads = io::Error;

fn open(disk: &Disk) -> Result<Database, StateError> {
    embedded::builder()
        .create_with_backend(disk.clone())
        .map_err(|error| embedded::failed_to_read(Path::new("disk"), error))
}

type Opener = Box<dyn FnMut() -> Result<Database, StateError> + Send>;

fn embedded(disk: &Disk, durability: Durability) -> Result<(Embedded<Opener>, Loaded), StateError> {
    let disk = disk.clone();
    let opener: Opener = Box::new(move || open(&disk));
    let (embedded, loaded) = Embedded::open(PathBuf::from("disk"), opener, at(100))?;
    Ok((embedded.with_durability(durability), loaded))
}

/// A disk with a database that is new.
fn fresh() -> Vec<u8> {
    let disk = Disk::default();
    embedded::begin(open(&disk).unwrap()).unwrap();
    disk.after_crash(|| panic!("all of it is synced"))
}

/// Several changes at a time: names that are new, that come again and that go, and enough of them for the file to grow.
fn script() -> Vec<Vec<Change>> {
    let mut script = Vec::new();
    for step in 0..14_u64 {
        let mut batch = vec![
            Change::Revoke(token(&format!("t{step}"), Some(1000 + step))),
            Change::Ban(ban(&format!("s{}", step % 4), Some(2000 + step))),
            Change::BanAddress(address_ban(&format!("10.0.{}.0/24", step % 3), None)),
        ];
        if step % 3 == 2 {
            batch.push(Change::Unban { subject: format!("s{}", (step + 1) % 4) });
            batch.push(Change::UnbanAddress { network: "10.0.1.0/24".to_owned() });
            batch.push(Change::Audit(Some(mark(step))));
        }
        if step % 5 == 4 {
            batch.extend((0..40).map(|n| Change::Revoke(token(&format!("many {step} {n}"), None))));
        }
        script.push(batch);
    }
    script
}

/// What `batches` leave, by another way than the store's.
fn expected(batches: &[Vec<Change>]) -> Loaded {
    let (mut revocations, mut bans, mut address_bans) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut audit = None;
    for change in batches.iter().flatten().cloned() {
        match change {
            Change::Revoke(revocation) => drop(revocations.insert(revocation.target.clone(), revocation)),
            Change::Ban(ban) => drop(bans.insert(ban.subject.clone(), ban)),
            Change::Unban { subject } => drop(bans.remove(&subject)),
            Change::BanAddress(ban) => drop(address_bans.insert(ban.network.clone(), ban)),
            Change::UnbanAddress { network } => drop(address_bans.remove(&network)),
            Change::Audit(mark) => audit = mark,
        }
    }
    let mut revocations: Vec<_> = revocations.into_values().collect();
    revocations.sort();
    let (bans, address_bans) = (bans.into_values().collect(), address_bans.into_values().collect());
    Loaded { revocations, bans, address_bans, audit }
}

/// Runs the script until the disk crashes; how many batches were acknowledged.
fn run(disk: &Disk, durability: Durability) -> usize {
    let Ok((mut embedded, _)) = embedded(disk, durability) else { return 0 };
    let tasks = |batch: Vec<Change>| batch.into_iter().map(Task::Keep).collect::<Vec<_>>();
    let mut acknowledged = 0;
    for batch in script() {
        match embedded.write(&tasks(batch)) {
            Ok(outcomes) => assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}"),
            Err(_) => break,
        }
        acknowledged += 1;
    }
    // A process that is killed closes nothing.
    disk.platter().crash_after = Some(0);
    acknowledged
}

/// Every way that was tried to crash a run with `durability` after `crash_after` operations and that does not leave what it
/// should: all that was acknowledged, and what was being written whole or not at all.
fn failures(begin: &[u8], durability: Durability, crash_after: usize) -> Vec<String> {
    let disk = Disk::holding(begin.to_vec(), Some(crash_after));
    let acknowledged = run(&disk, durability);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(crash_after as u64 + 1);
    let mut is_spared_by_chance = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.is_multiple_of(2)
    };
    let left = [
        disk.after_crash(|| false),
        disk.after_crash(|| true),
        disk.after_crash(&mut is_spared_by_chance),
        disk.after_crash(&mut is_spared_by_chance),
    ];
    let script = script();
    let possible =
        [acknowledged, (acknowledged + 1).min(script.len())].map(|count| expected(&script[..count]));
    let check = |left| match embedded(&Disk::holding(left, None), Durability::Immediate) {
        Err(error) => Some(format!("after {crash_after} operations: {error}")),
        Ok((_, mut loaded)) => {
            loaded.revocations.sort();
            let is_possible = possible.contains(&loaded);
            (!is_possible)
                .then(|| format!("after {crash_after} operations and {acknowledged} batches: {loaded:?}"))
        }
    };
    left.into_iter().filter_map(check).collect()
}

/// How many operations a run takes that nothing ends early.
fn operations_count(begin: &[u8], durability: Durability) -> usize {
    let disk = Disk::holding(begin.to_vec(), None);
    assert_eq!(run(&disk, durability), script().len());
    disk.platter().operations_count
}

#[test]
fn o10_a_crash_after_any_operation_of_the_disk_loses_nothing_that_was_acknowledged() {
    let begin = fresh();
    let count = operations_count(&begin, Durability::Immediate);
    assert!(count > 100, "{count}");
    for crash_after in 0..=count {
        assert_eq!(failures(&begin, Durability::Immediate, crash_after), [""; 0]);
    }
}

#[test]
fn o10_the_test_notices_when_nothing_waits_for_the_disk() {
    let begin = fresh();
    let count = operations_count(&begin, Durability::None);
    let noticed = (0..=count).find(|after| !failures(&begin, Durability::None, *after).is_empty());
    assert!(noticed.is_some(), "a store that is not durable passes the test of durability");
}

#[tokio::test]
async fn o05_a_disk_that_refuses_is_an_error_and_the_next_change_is_kept_when_it_has_room_again() {
    let disk = Disk::holding(fresh(), None);
    let (embedded, _) = embedded(&disk, Durability::Immediate).unwrap();
    let store = Store::start(embedded).unwrap();
    store.keep(Change::Revoke(token("before", None))).await.unwrap();
    disk.platter().is_failing = true;
    for _ in 0..3 {
        let error = store.keep(Change::Revoke(token("refused", None))).await.unwrap_err();
        assert!(matches!(error, StateError::NotWritten { .. }), "{error}");
    }
    disk.platter().is_failing = false;
    store.keep(Change::Revoke(token("after", None))).await.unwrap();
    drop(store);
    let left = disk.after_crash(|| false);
    let (_, loaded) = self::embedded(&Disk::holding(left, None), Durability::Immediate).unwrap();
    let names: Vec<_> = loaded.revocations.into_iter().map(|revocation| revocation.target).collect();
    for (name, is_there) in [("before", true), ("after", true)] {
        assert_eq!(names.contains(&token(name, None).target), is_there, "{name}: {names:?}");
    }
}

#[test]
fn a_store_that_is_full_refuses_what_is_new_and_takes_what_it_has() {
    let (embedded, _) = embedded(&Disk::holding(fresh(), None), Durability::Immediate).unwrap();
    let mut embedded = embedded.with_room_for(3);
    let mut keep = |change| embedded.write(&[Task::Keep(change)]).unwrap().remove(0);
    keep(Change::Revoke(token("a", None))).unwrap();
    keep(Change::Ban(ban("a", None))).unwrap();
    keep(Change::BanAddress(address_ban("a", None))).unwrap();
    let new = [
        Change::Revoke(token("b", None)),
        Change::Ban(ban("b", None)),
        Change::BanAddress(address_ban("b", None)),
    ];
    for change in new {
        assert!(matches!(keep(change), Err(StateError::Full)));
    }
    keep(Change::Audit(Some(mark(1)))).unwrap();
    keep(Change::Revoke(token("a", None))).unwrap();
    keep(Change::Ban(ban("a", Some(1000)))).unwrap();
    keep(Change::Unban { subject: "a".to_owned() }).unwrap();
    keep(Change::Revoke(token("b", None))).unwrap();
    assert!(matches!(keep(Change::Ban(ban("a", None))), Err(StateError::Full)));
}
