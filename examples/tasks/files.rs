//! The part of the example that has nothing to do with messages: arguments, files, counting and the report.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, thread};

pub const HELP: &str = "usage: tasks [--workers N] [PATH...]

Counts lines, words and bytes of files, and of those in folders, with N worker processes (1 to 64; by default one for each
core, but at least 2). Without a path it counts the sources of its library. Files that cannot be read are listed.
Exit status 1: a worker died, a single process counts otherwise, or an argument is wrong.
";

/// Files (that is, 1), lines, words and bytes; or why there is nothing to count.
pub type Counted = Result<[u64; 4], String>;

/// What the command line asks for.
pub struct Job {
    pub workers: usize,
    pub paths: Vec<PathBuf>,
}

/// Reads the command line; `None` if help is wanted.
pub fn parse_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Job>, Box<dyn Error>> {
    let mut workers = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 64));
    let mut paths = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help") => return Ok(None),
            Some("--workers") => {
                let number = arguments.next().and_then(|text| text.to_str()?.parse().ok());
                let allowed = number.filter(|number| (1..=64).contains(number));
                workers = allowed.ok_or("--workers takes a number from 1 to 64")?;
            }
            Some(text) if text.starts_with("--") => {
                return Err(format!("unknown option {text}, see --help").into());
            }
            _ => paths.push(argument.into()),
        }
    }
    if paths.is_empty() {
        paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    }
    Ok(Some(Job { workers, paths }))
}

/// The files among the paths and in the folders among them; what a link in a folder points to is left out.
pub fn walk(mut paths: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    while let Some(path) = paths.pop() {
        let Ok(entries) = fs::read_dir(&path) else {
            files.push(path);
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() || kind.is_file() {
                paths.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Counts as POSIX says of `wc`; white space is that of ASCII.
pub fn count(path: &Path) -> Counted {
    let count = || {
        // Opening a named pipe would wait for its other end. A folder is one that could not be listed: opening it says why.
        let kind = fs::metadata(path)?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut file = fs::File::open(path)?;
        let (mut lines, mut words, mut bytes) = (0, 0, 0);
        let (mut in_word, mut block) = (false, vec![0; 64 * 1024]);
        loop {
            let length = match file.read(&mut block)? {
                0 => return Ok([1, lines, words, bytes]),
                length => length,
            };
            for byte in &block[..length] {
                let is_space = matches!(byte, b' ' | b'\t'..=b'\r');
                lines += u64::from(*byte == b'\n');
                words += u64::from(!in_word && !is_space);
                in_word = !is_space;
            }
            bytes += length as u64;
        }
    };
    count().map_err(|error| error.to_string())
}

/// The table of totals and shares, the files that were not counted, and the rate.
pub fn report(files: &[PathBuf], results: &[(usize, Counted)], workers: usize, elapsed: Duration) -> String {
    // One for each worker, and the last for all together.
    let mut shares = vec![[0; 4]; workers + 1];
    for (worker, counted) in results {
        for (at, number) in counted.iter().flatten().enumerate() {
            shares[*worker][at] += number;
            shares[workers][at] += number;
        }
    }
    let [all_files, _, _, all_bytes] = shares[workers];
    let mut text = "worker       files       lines       words          bytes     share\n".to_owned();
    let names = (0..workers)
        .map(|worker| worker.to_string())
        .chain(["all".into()]);
    for (name, [files, lines, words, bytes]) in names.zip(shares) {
        let percent = 100.0 * bytes as f64 / all_bytes.max(1) as f64;
        text += &format!("{name:<8}{files:>10}{lines:>12}{words:>12}{bytes:>15}{percent:>8.1} %\n");
    }
    for (file, (_, counted)) in files.iter().zip(results) {
        if let Err(reason) = counted {
            text += &format!("not counted: {file:?}: {reason}\n");
        }
    }
    let rate = |amount: u64| amount as f64 / elapsed.as_secs_f64().max(1e-9);
    let (files, megabytes) = (rate(all_files), rate(all_bytes) / 1e6);
    text + &format!("{elapsed:.2?}, {files:.0} files/s, {megabytes:.1} MB/s\n")
}

/// Replaces the line on the terminal, if there is one.
pub fn draw_progress(bar: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{bar}");
    }
}

/// Back from `as_encoded_bytes`, which on Unix is any path as it is, and elsewhere UTF-8 for all but freaks.
#[cfg(unix)]
pub fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.to_vec()).into()
}

#[cfg(not(unix))]
pub fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}
