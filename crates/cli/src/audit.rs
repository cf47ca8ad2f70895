//! `drawgate audit`: makes the key of an audit log, and verifies a log.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use drawgate::audit::{Config, Key, Link};
use drawgate::chance::Chance;
use drawgate::clock::Clock;
use drawgate::state::{Change, Store};

use crate::logging::say;
use crate::{ConfigFile, Failure, Outcome, configuration, print};

/// `drawgate audit`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the key of a new audit log, and print the first key, which verifies it
    Create(ConfigFile),
    /// Verify an audit log: that no line was changed, removed or moved, and that none is missing at its end
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// A file with the first key, as `drawgate audit create` printed it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The configuration, which names the log; without it, name the files
    #[arg(long = "config", value_name = "FILE", required_unless_present = "files")]
    config: Option<PathBuf>,
    /// How many lines there must be, as the metric `drawgate_audit_lines` says
    #[arg(long, value_name = "NUMBER")]
    lines: Option<u64>,
    /// The files of the log, oldest first
    #[arg(value_name = "LOG", conflicts_with = "config")]
    files: Vec<PathBuf>,
}

pub(crate) fn audit(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Create(file) => create(&file.config),
        Command::Verify(args) => verify(args),
    }
}

fn create(file: &Path) -> Result<Outcome, Failure> {
    let config = configuration::read(file)?;
    let Config { path, key_file, .. } = audit_of(&config, file)?;
    // The full files of a log whose last one was taken away are one, too: two chains would be told apart by nothing.
    let is_there = |path: &&PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    if let Some(there) = files_of(&path)?.iter().find(is_there) {
        return Err(Failure(format!(
            "{}: there is a log already, and no new key would verify it; move its files and its key away first",
            there.display()
        )));
    }
    let chance =
        Chance::system().map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    // Not while a gateway has it, which may be writing a log.
    let store = match config.state {
        Some(state) if state.directory.exists() => {
            let opened = Store::open(&state.directory, Clock::system().unix_now());
            Some(opened.map_err(|error| Failure(error.to_string()))?.0)
        }
        Some(_) | None => None,
    };
    let first = Key::new(chance.bytes());
    let link = Link::first(first.clone());
    // Never over a key that there is: lines may have been written under it.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key_file);
    made.and_then(|mut file| file.write_all(link.to_text().as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| Failure(format!("{}: cannot be made: {error}", key_file.display())))?;
    if let Some(store) = store {
        store.keep_now(Change::Audit(None)).map_err(|error| {
            Failure(format!("{error}; then remove {} and run this again", key_file.display()))
        })?;
    }
    say(
        "The first key verifies the whole log, and is not kept. Keep it where nobody who can write the log can read it:",
    );
    print(&format!("{}\n", &*first.to_hex()))
}

fn verify(args: &VerifyArgs) -> Result<Outcome, Failure> {
    let advice = "name the file with what `drawgate audit create` printed";
    let text =
        fs::read_to_string(&args.key).map_err(|error| Failure::unreadable(&args.key, &error, advice))?;
    let first = Key::from_hex(text.trim()).ok_or_else(|| {
        Failure(format!("{}: is no first key of 64 hexadecimal digits; {advice}", args.key.display()))
    })?;
    let config = args.config.as_deref().map(|file| audit_of(&configuration::read(file)?, file));
    let config = config.transpose()?;
    let files = match &config {
        Some(config) => files_of(&config.path)?,
        None => args.files.clone(),
    };
    let mut link = Link::first(first);
    for file in &files {
        if let Some(told) = verify_file(&mut link, file)? {
            print(&told)?;
            return Ok(Outcome::No);
        }
    }
    let count = link.count();
    let missing = match (&config, args.lines) {
        (_, Some(lines)) if lines > count => Some(format!("of {lines} lines")),
        (Some(config), _) => cut_before(&link, &config.key_file)?,
        (None, _) => None,
    };
    if let Some(missing) = missing {
        print(&format!("NOT VERIFIED: the log ends after line {count} {missing}: its end is missing\n"))?;
        return Ok(Outcome::No);
    }
    print(&format!("verified: {count} lines, the last with code {}\n", link.head_hex()))
}

/// What is wrong with the file, if anything is.
fn verify_file(link: &mut Link, path: &Path) -> Result<Option<String>, Failure> {
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        reader
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(path, &error))?;
        if line.is_empty() {
            break;
        }
        let wrong = match line.strip_suffix(b"\n") {
            None => Some("is not whole".to_owned()),
            Some(line) => link.verify(line).err().map(|flaw| flaw.to_string()),
        };
        if let Some(wrong) = wrong {
            return Ok(Some(format!("NOT VERIFIED: {}, line {number}: {wrong}\n", path.display())));
        }
    }
    Ok(None)
}

/// Where the log should end by its key file, if that is further on.
fn cut_before(link: &Link, key_file: &Path) -> Result<Option<String>, Failure> {
    let text = fs::read_to_string(key_file).map_err(|error| unreadable(key_file, &error))?;
    let Some(known) = Link::from_text(&text) else {
        return Err(Failure(format!("{}: is no key of an audit log", key_file.display())));
    };
    let is_there = known.next < link.next || (known.next == link.next && known.head == link.head);
    Ok((!is_there).then(|| format!("and its key file knows {}", known.count())))
}

/// The full files, oldest first, and the one that is being written.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| format!("{}.", name.to_string_lossy())).unwrap_or_default();
    let is_full_one = |entry: &Path| {
        let number = entry.file_name().and_then(|own| own.to_str()).and_then(|own| own.strip_prefix(&name));
        number.is_some_and(|number| number.len() >= 12 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_full_one(path))
        .collect();
    files.sort();
    files.push(path.to_owned());
    Ok(files)
}

fn audit_of(config: &drawgate::config::Config, file: &Path) -> Result<Config, Failure> {
    config
        .audit
        .clone()
        .ok_or_else(|| Failure(format!("{}: has no [audit]; add one, as docs/audit.md says", file.display())))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unreadable(path, error, "make sure that it is there, and that this user may read it")
}

/// No line is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;
