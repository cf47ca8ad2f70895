//! Reads how much memory and how many descriptors the process uses, and how much there is of them.
//!
//! Linux: `/proc` and the control groups, of either version. What cannot be read is not known, and nothing comes of it. Judges
//! nothing: `overload.rs` does. A measurement is a few reads of files that lie in memory, some tens of microseconds. The files
//! stay open: where there is no descriptor left, memory is to be known all the same.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::overload::{MemoryMax, Used};

/// Where to look, found out once.
#[derive(Debug)]
pub(crate) struct Meter {
    root: PathBuf,
    memory_max: Option<u64>,
    /// Says what is resident, where that counts.
    status: Option<File>,
    /// Those that the process is in, if any has a limit.
    groups: Vec<Group>,
    descriptors_max: Option<u64>,
}

/// A control group that the process is in.
#[derive(Debug)]
struct Group {
    /// The file with its limit, which whoever runs this may change at any time.
    limit: File,
    /// The file with what is used.
    used: File,
    /// The file that says how much of that the kernel would give back at once.
    stat: Option<File>,
    /// How that is called there.
    stat_key: &'static str,
}

impl Meter {
    /// Looks where the system has these things.
    pub(crate) fn system(memory_max: MemoryMax) -> Self {
        Self::at(Path::new("/"), memory_max)
    }

    /// The same below `root`.
    fn at(root: &Path, memory_max: MemoryMax) -> Self {
        let groups = if memory_max == MemoryMax::Unlimited { Vec::new() } else { Group::all(root) };
        let is_limited = groups.iter().any(|group| group.limit().is_some());
        let memory_max = match memory_max {
            MemoryMax::Bytes(bytes) => Some(bytes),
            // Where there is a group with a limit, it is the group that is killed.
            MemoryMax::System if !is_limited => {
                kib_of(&read(&root.join("proc/meminfo")).unwrap_or_default(), "MemTotal:")
            }
            MemoryMax::System | MemoryMax::Unlimited => None,
        };
        let descriptors_max = read(&root.join("proc/self/limits")).and_then(|limits| soft_limit(&limits));
        let status = memory_max.and_then(|_| File::open(root.join("proc/self/status")).ok());
        Self { root: root.to_owned(), memory_max, status, groups, descriptors_max }
    }

    /// How much memory there is, by whichever limit is the least.
    pub(crate) fn memory_max(&self) -> Option<u64> {
        self.memory_max.into_iter().chain(self.groups.iter().filter_map(Group::limit)).min()
    }

    /// How much memory is used, of the limit that is nearer.
    pub(crate) fn memory(&self) -> Option<Used> {
        let resident = self.memory_max.and_then(|max| {
            let status = text_of(self.status.as_ref()?)?;
            Some(Used { used: kib_of(&status, "VmRSS:")?, max })
        });
        let of_groups = self.groups.iter().filter_map(Group::used);
        let share = |used: &Used| u128::from(used.used) * u128::from(u64::MAX) / u128::from(used.max.max(1));
        resident.into_iter().chain(of_groups).max_by_key(share)
    }

    /// How many descriptors are open; where the kernel does not say (before 6.2), nothing comes of it but what there was before: an
    /// accept that fails.
    pub(crate) fn descriptors(&self) -> Option<Used> {
        let used = fs::metadata(self.root.join("proc/self/fd")).ok()?.size();
        Some(Used { used, max: self.descriptors_max? }).filter(|descriptors| descriptors.used > 0)
    }
}

impl Group {
    /// All that there are, with a limit or without: it may have one later.
    fn all(root: &Path) -> Vec<Self> {
        let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
        let mount = root.join("sys/fs/cgroup");
        let mut found: Vec<Self> = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (base, version) = match controllers {
                "" => (mount.clone(), &V2),
                _ if controllers.split(',').any(|name| name == "memory") => (mount.join("memory"), &V1),
                _ => continue,
            };
            found.extend(ancestors(path).filter_map(|path| Self::at(&base.join(path), version)));
        }
        found
    }

    fn at(folder: &Path, version: &Version) -> Option<Self> {
        let limit = File::open(folder.join(version.limit)).ok()?;
        let used = File::open(folder.join(version.used)).ok()?;
        let stat = File::open(folder.join("memory.stat")).ok();
        Some(Self { limit, used, stat, stat_key: version.stat_key })
    }

    /// Its limit as it is now: a word is none, and so is a number that no machine has.
    fn limit(&self) -> Option<u64> {
        text_of(&self.limit)?.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
    }

    /// What is used, without the pages of files that the kernel would give up before it kills.
    fn used(&self) -> Option<Used> {
        let max = self.limit()?;
        let used: u64 = text_of(&self.used)?.trim().parse().ok()?;
        let mut used = Used { used, max };
        // Working this out costs the kernel something, and changes nothing while there is much left.
        if used.used > max / 2 {
            let stat = self.stat.as_ref().and_then(text_of).unwrap_or_default();
            let files = stat.lines().find_map(|line| line.strip_prefix(self.stat_key)?.trim().parse().ok());
            used.used = used.used.saturating_sub(files.unwrap_or(0));
        }
        Some(used)
    }
}

/// What the files of a control group are called.
struct Version {
    limit: &'static str,
    used: &'static str,
    stat_key: &'static str,
}

const V2: Version = Version { limit: "memory.max", used: "memory.current", stat_key: "inactive_file " };
const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    stat_key: "total_inactive_file ",
};

/// `/a/b` as `a/b`, `a` and nothing: a limit counts for all below it. In a container the mount may begin at its own group, where
/// the first are not to be found.
fn ancestors(path: &str) -> impl Iterator<Item = &Path> {
    Path::new(path.trim_start_matches('/')).ancestors()
}

/// The amount in a line such as `VmRSS:   1234 kB`, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit in force of the process's descriptors; a word is none.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// What an open file says now: these are made anew for whoever reads them from their beginning.
fn text_of(file: &File) -> Option<String> {
    let mut bytes = vec![0; TEXT_BYTES];
    let mut filled = 0;
    while let count @ 1.. = file.read_at(&mut bytes[filled..], filled as u64).ok()? {
        filled += count;
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).ok()
}

/// More than a process's status or the state of a control group has; of a longer one this much is looked at.
const TEXT_BYTES: usize = 16 * 1024;

/// Version 1 writes "no limit" as the largest multiple of a page; nothing has 2^60 bytes.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A system that is made of these files.
    fn system(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const PROCESS: [(&str, &str); 3] = [
        ("proc/meminfo", "MemTotal:        1000 kB\nMemFree: 5 kB\n"),
        ("proc/self/status", "Name:\tx\nVmHWM:\t 900 kB\nVmRSS:\t     250 kB\n"),
        (
            "proc/self/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096 files\n",
        ),
    ];

    #[test]
    fn without_a_group_it_is_the_machine_that_runs_out() {
        let system = system(&PROCESS);
        let meter = Meter::at(system.path(), MemoryMax::System);
        assert_eq!(meter.memory(), Some(Used { used: 250 << 10, max: 1000 << 10 }));
        assert_eq!((meter.memory_max(), meter.descriptors_max), (Some(1000 << 10), Some(1024)));
        let meter = Meter::at(system.path(), MemoryMax::Bytes(300_000));
        assert_eq!(meter.memory(), Some(Used { used: 250 << 10, max: 300_000 }));
        assert_eq!(Meter::at(system.path(), MemoryMax::Unlimited).memory(), None);
    }

    #[test]
    fn of_groups_of_version_2_the_least_limit_counts_and_pages_of_files_do_not() {
        let files = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "400\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.current", "700\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 150\nactive_file 9\n"),
        ];
        let system = system(&[&PROCESS[..], &files[..]].concat());
        let meter = Meter::at(system.path(), MemoryMax::System);
        assert_eq!(meter.memory(), Some(Used { used: 550, max: 1000 }));
        assert_eq!(meter.memory_max(), Some(1000));
        fs::write(system.path().join("sys/fs/cgroup/a/memory.current"), "500").unwrap();
        assert_eq!(meter.memory(), Some(Used { used: 500, max: 1000 }), "it is not worth asking");
        // Whichever is nearer to its end.
        let meter = Meter::at(system.path(), MemoryMax::Bytes(300 << 10));
        assert_eq!(meter.memory(), Some(Used { used: 250 << 10, max: 300 << 10 }));
        let meter = Meter::at(system.path(), MemoryMax::Bytes(600 << 10));
        assert_eq!(meter.memory(), Some(Used { used: 500, max: 1000 }));
    }

    #[test]
    fn r11_a_limit_that_is_changed_counts_from_then_on() {
        let files = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "400\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.current", "400\n"),
        ];
        let system = system(&[&PROCESS[..], &files[..]].concat());
        let meter = Meter::at(system.path(), MemoryMax::System);
        assert_eq!(meter.memory(), Some(Used { used: 400, max: 1000 }));
        for (group, limit, max) in [("a", "500", 500), ("a", "2000", 2000), ("a/b", "450", 450)] {
            fs::write(system.path().join(format!("sys/fs/cgroup/{group}/memory.max")), limit).unwrap();
            assert_eq!(meter.memory(), Some(Used { used: 400, max }), "{group} {limit}");
            assert_eq!(meter.memory_max(), Some(max));
        }
    }

    #[test]
    fn in_a_container_the_group_of_version_1_lies_at_the_mount() {
        let files = [
            ("proc/self/cgroup", "9:cpu:/\n4:hugetlb,memory:/docker/abc\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1500\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n"),
        ];
        let limited = system(&[&PROCESS[..], &files[..]].concat());
        let meter = Meter::at(limited.path(), MemoryMax::System);
        assert_eq!(meter.memory(), Some(Used { used: 1000, max: 2000 }));
        fs::write(limited.path().join("sys/fs/cgroup/memory/memory.limit_in_bytes"), "9223372036854771712\n")
            .unwrap();
        assert_eq!(Meter::at(limited.path(), MemoryMax::System).memory_max(), Some(1000 << 10));
    }

    /// Whoever takes all descriptors must not take away the sight of memory with them. Files whose names are gone cannot be opened
    /// either, and stand for that here.
    #[test]
    fn r11_what_is_used_is_known_where_no_file_can_be_opened_any_more() {
        let files = [
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.current", "900\n"),
            ("sys/fs/cgroup/a/memory.stat", "inactive_file 100\n"),
        ];
        let system = system(&[&PROCESS[..], &files[..]].concat());
        let of_group = Meter::at(system.path(), MemoryMax::System);
        let resident = Meter::at(system.path(), MemoryMax::Bytes(250 << 10));
        fs::write(system.path().join("sys/fs/cgroup/a/memory.current"), "950\n").unwrap();
        fs::remove_dir_all(system.path()).unwrap();
        assert_eq!(of_group.memory(), Some(Used { used: 850, max: 1000 }));
        assert_eq!(resident.memory(), Some(Used { used: 250 << 10, max: 250 << 10 }));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let nothing = system(&[]);
        let meter = Meter::at(nothing.path(), MemoryMax::System);
        assert_eq!((meter.memory(), meter.memory_max(), meter.descriptors()), (None, None, None));
        let odd = system(&[
            ("proc/meminfo", "MemTotal: many kB\n"),
            ("proc/self/limits", "Max open files unlimited unlimited files\n"),
            ("proc/self/cgroup", "nonsense\n0\n:::\n"),
        ]);
        let meter = Meter::at(odd.path(), MemoryMax::System);
        assert_eq!((meter.memory(), meter.descriptors_max), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_some_memory_and_a_descriptor_more_once_one_is_open() {
        let meter = Meter::system(MemoryMax::Bytes(1 << 40));
        let memory = meter.memory().unwrap();
        assert!(memory.used > 1 << 20 && memory.max <= 1 << 40, "{memory:?}");
        // Kernels before 6.2 do not say.
        if let Some(before) = meter.descriptors() {
            let held: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
            let during = meter.descriptors().unwrap();
            assert!(
                during.used >= before.used.max(100) && during.max >= during.used,
                "{before:?} {during:?}"
            );
            drop(held);
        }
    }
}
