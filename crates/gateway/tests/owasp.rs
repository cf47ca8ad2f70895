//! docs/owasp.md holds: what it calls done is shown by tests that exist, no requirement is left out, and a key that it calls
//! missing is still refused.
//!
//! Reads the page and the sources as text. It cannot tell whether a test shows what its row says: that is for the reader.

use std::fs;
use std::path::Path;

/// The sections of the ASVS that the page is about, and how many requirements each has.
const SECTIONS: [(&str, usize); 9] = [
    ("4.4", 4),
    ("7.1", 3),
    ("7.2", 4),
    ("7.3", 2),
    ("7.4", 5),
    ("7.5", 3),
    ("7.6", 2),
    ("9.1", 3),
    ("9.2", 4),
];

/// What the configuration refuses as not there yet.
const LATER: &str = "crates/gateway/src/config/later.rs";

#[test]
fn what_the_page_calls_done_has_its_tests_and_what_it_calls_missing_is_missing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/owasp.md")).unwrap();
    let problems = problems(&page, &|file| fs::read_to_string(root.join(file)).ok());
    assert!(problems.is_empty(), "docs/owasp.md:\n{}", problems.join("\n"));
}

#[test]
fn whatever_is_wrong_with_a_page_is_found() {
    let read = |file: &str| match file {
        "Makefile" => Some("unit:\n\tcargo test\n".to_owned()),
        "a/b.rs" => Some("#[test]\nfn it_holds() {}\n".to_owned()),
        LATER => Some("    (\"routes.*.inspect\", \"leave it out\"),\n".to_owned()),
        _ => None,
    };
    let rows: Vec<_> =
        requirements().map(|number| format!("| {number} | a | the application's | b | |")).collect();
    let whole = rows.join("\n");
    let with = |row: &str| problems(&format!("{whole}\n{row}"), &read);
    for sound in [
        "| | asks for | state | in Drawgate | shown by |",
        "|---|---|---|---|---|",
        "| x | a | done | `any.key` | [`it_holds`](../a/b.rs), `make unit` |",
        "| x | a | the application's | b | `make unit` |",
        "| x | a | not yet | `routes.*.inspect` | |",
    ] {
        assert_eq!(with(sound), [""; 0], "{sound}");
    }
    for (wrong, problem) in [
        ("| x | a | done | b | [`it_holds_not`](../a/b.rs) |", "a/b.rs has no it_holds_not"),
        ("| x | a | done | b | [`it_hold`](../a/b.rs) |", "a/b.rs has no it_hold"),
        ("| x | a | done | b | [`it_holds`](../a/c.rs) |", "a/c.rs has no it_holds"),
        ("| x | a | done | b | `make uni` |", "the Makefile has no uni"),
        ("| x | a | done | b | `it_holds` |", "neither a linked test nor a make target: `it_holds`"),
        ("| x | a | the application's | b | as above |", "neither a linked test nor a make target: as above"),
        ("| x | a | done | b | |", "done, and shown by nothing"),
        ("| x | a | not yet | b | `make unit` |", "not yet, and shown by something"),
        ("| x | a | not yet | `any.key` | |", "any.key is not refused as missing"),
        ("| x | a | almost | b | |", "almost is no state"),
        ("| x | a | done | `make unit` |", "not five cells"),
    ] {
        assert_eq!(with(wrong), [format!("x: {problem}")], "{wrong}");
    }
    let short = whole.replace("| 9.2.4 | a ", "| 9.2.5 | a ");
    assert_eq!(problems(&short, &read), ["9.2.4: no row", "9.2.5: no such requirement"]);
}

/// What is wrong with `page`; `read` gives the text of a file of the repository.
fn problems(page: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let rows: Vec<Vec<&str>> = page.lines().filter_map(cells).collect();
    let is_there = |number: &String| rows.iter().any(|row| row[0] == number);
    let mut problems: Vec<_> =
        requirements().filter(|number| !is_there(number)).map(|number| format!("{number}: no row")).collect();
    for row in &rows {
        let number = row[0];
        let is_numbered = number.starts_with(|first: char| first.is_ascii_digit());
        if is_numbered && !requirements().any(|required| required == number) {
            problems.push(format!("{number}: no such requirement"));
        }
        problems.extend(row_problems(row, read).into_iter().map(|problem| format!("{number}: {problem}")));
    }
    problems
}

fn row_problems(row: &[&str], read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let &[_, _, state, here, shown_by] = row else { return vec!["not five cells".to_owned()] };
    let mut problems: Vec<_> = shown_by
        .split(", ")
        .filter(|shown| !shown.is_empty())
        .filter_map(|shown| missing(shown, read))
        .collect();
    match state {
        "done" if shown_by.is_empty() => problems.push("done, and shown by nothing".to_owned()),
        "not yet" if !shown_by.is_empty() => problems.push("not yet, and shown by something".to_owned()),
        "not yet" => {
            let later = read(LATER).unwrap_or_default();
            let keys = here.split('`').skip(1).step_by(2);
            let came = keys.filter(|key| !later.contains(&format!("(\"{key}\",")));
            problems.extend(came.map(|key| format!("{key} is not refused as missing")));
        }
        "done" | "the application's" => {}
        _ => problems.push(format!("{state} is no state")),
    }
    problems
}

/// Why `shown`, a test linked to its file or a make target, shows nothing.
fn missing(shown: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(target) = shown.strip_prefix("`make ").and_then(|rest| rest.strip_suffix('`')) {
        let makefile = read("Makefile").unwrap_or_default();
        let is_target = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        return (!is_target).then(|| format!("the Makefile has no {target}"));
    }
    let link = shown.strip_prefix("[`").and_then(|rest| rest.strip_suffix(')'));
    match link.and_then(|link| link.split_once("`](../")) {
        Some((test, file)) => {
            let is_there = read(file).is_some_and(|text| text.contains(&format!("fn {test}(")));
            (!is_there).then(|| format!("{file} has no {test}"))
        }
        None => Some(format!("neither a linked test nor a make target: {shown}")),
    }
}

/// The cells of a row of a table; `None` for the rest of the page and for the heads of tables.
fn cells(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix('|')?.split('|').map(str::trim).collect();
    (!cells.starts_with(&["", "asks for"])).then_some(cells)
}

fn requirements() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|(section, count)| (1..=*count).map(move |number| format!("{section}.{number}")))
}
