//! docs/performance.md: each part's section is replaced when it has been measured, everything else stays as it is.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::part::Section;

/// The machine, the day and the versions, as each section names them.
#[must_use]
pub fn circumstances(bench: &Path) -> String {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().next().map(str::to_owned)
    };
    let unknown = || "unknown".to_owned();
    let day = first_line("date", "+%F").unwrap_or_else(unknown);
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().split('.').take(2).collect::<Vec<_>>().join(".");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "Measured {day} on {cores} cores of {}, Linux {kernel}, {}",
        processor.unwrap_or_else(unknown),
        first_line("rustc", "--version")
            .and_then(|line| Some(line.rsplit_once(" (")?.0.to_owned()))
            .unwrap_or_else(unknown)
    );
    let lock = fs::read_to_string(bench.join("Cargo.lock")).unwrap_or_default();
    for name in ["tokio", "fastwebsockets", "tokio-websockets", "tokio-tungstenite"] {
        if let Some(version) = locked_version(&lock, name) {
            let _ = write!(text, ", {name} {version}");
        }
    }
    let package = fs::read_to_string(bench.join("package.json")).unwrap_or_default();
    if let Some((_, after)) = package.split_once("\"ws\": \"") {
        let node = first_line("node", "--version").unwrap_or_else(unknown);
        let _ = write!(text, ", ws {} on Node.js {node}", after.split('"').next().unwrap_or_default());
    }
    let requirements = fs::read_to_string(bench.join("requirements.txt")).unwrap_or_default();
    for line in requirements.lines().filter(|line| line.contains("==")) {
        let _ = write!(text, ", {}", line.replace("==", " "));
    }
    text + "."
}

/// Puts `section` in place of the one of its title, or behind all others.
///
/// # Errors
/// The page cannot be read or written.
pub fn write(page: &Path, section: &Section, circumstances: &str) -> io::Result<()> {
    let old = match fs::read_to_string(page) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => INTRODUCTION.to_owned(),
        other => other?,
    };
    let body = format!("{}\n{circumstances}\n", section.body);
    fs::write(page, replaced(&old, section.title, &body))
}

fn replaced(page: &str, title: &str, body: &str) -> String {
    let mut sections: Vec<String> =
        page.split("\n## ").map(|section| section.trim_end().to_owned()).collect();
    let new = format!("{title}\n\n{}", body.trim_end());
    match sections.iter_mut().skip(1).find(|section| section.lines().next() == Some(title)) {
        Some(section) => *section = new,
        None => sections.push(new),
    }
    sections.join("\n\n## ") + "\n"
}

fn locked_version<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    after.split('"').next()
}

const INTRODUCTION: &str = "# Performance

What Drawgate costs, beside other servers and beside a bare TCP echo that knows no protocol: one thread, one epoll, one
buffer. Made by `make bench`, which runs each server on one core and the load generator on another, over loopback; the
tables hold what was measured, won or lost. Loopback, and one machine: read ratios, not absolute figures.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_own_and_leaves_the_others() {
        let page = replaced("# Page\n\nWords.\n", "A", "one");
        let page = replaced(&page, "B", "two\n");
        assert_eq!(page, "# Page\n\nWords.\n\n## A\n\none\n\n## B\n\ntwo\n");
        assert_eq!(replaced(&page, "A", "new"), "# Page\n\nWords.\n\n## A\n\nnew\n\n## B\n\ntwo\n");
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"tokio\"\nversion = \"1.53.3\"\n";
        assert_eq!(locked_version(lock, "tokio"), Some("1.53.3"));
        assert_eq!(locked_version(lock, "bytes"), None);
    }
}
