//! Configuration files: read, checked, and begun.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use drawgate::config::{Config, Problems, start_text};

use crate::{Failure, Outcome, print};

/// `drawgate check`
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as the other commands name it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `drawgate init`
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE", default_value = "drawgate.toml")]
    file: PathBuf,
}

/// Prints every problem, or says that there is none.
pub(crate) fn check(args: &CheckArgs) -> Result<Outcome, Failure> {
    let file = args.file.as_ref().or(args.config.as_ref()).map_or_else(PathBuf::new, Clone::clone);
    let config = read(&file)?;
    for warning in &config.warnings {
        // Nobody to tell where this cannot be written.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let (listeners, routes) = (config.listeners.len(), config.routes.len());
    print(&format!(
        "{}: fine ({listeners} listener{}, {routes} route{}); start it with: drawgate run --config {}\n",
        file.display(),
        plural(listeners),
        plural(routes),
        file.display(),
    ))
}

/// Writes a configuration to start from.
pub(crate) fn init(args: &InitArgs) -> Result<Outcome, Failure> {
    let file = args.file.display();
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .and_then(|mut opened| opened.write_all(start_text().as_bytes()));
    match written {
        Ok(()) => print(&format!(
            "wrote {file}; read through it, then:\n  drawgate check {file}\n  drawgate run --config {file}\n"
        )),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure(format!(
            "{file} exists and was left alone: name another file, or move it away first"
        ))),
        Err(error) => Err(Failure(format!(
            "{file} cannot be written: {error}; name a file in a folder that exists and is yours"
        ))),
    }
}

/// Reads a configuration file; its paths begin at its folder.
pub(crate) fn read(file: &Path) -> Result<Config, Failure> {
    let text = text_of(file)?;
    parse(&text, file).map_err(|problems| Failure(format!("{} has {problems}", file.display())))
}

/// Reads it again; everything that is wrong with it, a sentence each.
pub(crate) fn read_again(file: &Path) -> Result<Config, Vec<String>> {
    let text = text_of(file).map_err(|Failure(text)| vec![text])?;
    parse(&text, file).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn text_of(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        let file = file.display();
        let advice = match error.kind() {
            io::ErrorKind::NotFound => format!("make one to start from with: drawgate init {file}"),
            io::ErrorKind::InvalidData => "a configuration is text in UTF-8".to_owned(),
            io::ErrorKind::IsADirectory => "name the file in it".to_owned(),
            _ => "make sure that this user may read it".to_owned(),
        };
        Failure(format!("{file} cannot be read: {error}; {advice}"))
    })
}

fn parse(text: &str, file: &Path) -> Result<Config, Problems> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    Config::from_toml(text, folder, &|name| std::env::var(name).ok())
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
