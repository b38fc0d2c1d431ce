//! The part of the example that has nothing to do with messages: finding files, counting, and the report.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::{array, time::Duration};

use anyhow::{Result, ensure};

/// Files, lines, words and bytes.
pub type Counts = [u64; 4];

pub fn add(one: Counts, other: Counts) -> Counts {
    array::from_fn(|at| one[at] + other[at])
}

/// The files among the paths and in the folders among them; links in folders are left out.
pub fn walk(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in paths.iter().flat_map(walkdir::WalkDir::new) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => files.push(entry.into_path()),
            Ok(entry) if entry.depth() == 0 && !entry.path().is_dir() => files.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => files.extend(error.path().map(Path::to_owned)), // Counting it will say why.
        }
    }
    files
}

/// Counts as POSIX says of `wc`; white space is that of ASCII.
pub fn count(path: &Path) -> Result<Counts> {
    let kind = fs::metadata(path)?.file_type();
    // Opening a named pipe would wait for its other end. Opening a folder says why it could not be listed.
    ensure!(kind.is_file() || kind.is_dir(), "not a regular file");
    let (mut lines, mut words, mut bytes, mut in_word) = (0, 0, 0, false);
    for byte in BufReader::new(File::open(path)?).bytes() {
        let byte = byte?;
        let is_space = matches!(byte, b' ' | b'\t'..=b'\r');
        lines += u64::from(byte == b'\n');
        words += u64::from(!in_word && !is_space);
        bytes += 1;
        in_word = !is_space;
    }
    Ok([1, lines, words, bytes])
}

/// The table of totals and shares, the files that were not counted, and the rate.
pub fn report(shares: &[Counts], total: Counts, unread: &[String], elapsed: Duration) -> String {
    let mut text = "worker       files       lines       words          bytes     share\n".to_owned();
    let numbers = (0..shares.len()).map(|worker| worker.to_string());
    let rows = numbers.zip(shares).chain([("all".to_owned(), &total)]);
    for (name, [files, lines, words, bytes]) in rows {
        let percent = 100.0 * *bytes as f64 / total[3].max(1) as f64;
        text += &format!("{name:<8}{files:>10}{lines:>12}{words:>12}{bytes:>15}{percent:>8.1} %\n");
    }
    text.extend(unread.iter().map(|reason| format!("not counted: {reason}\n")));
    let [files, _, _, bytes] = total.map(|number| number as f64 / elapsed.as_secs_f64());
    text + &format!("{elapsed:.2?}, {files:.0} files/s, {:.1} MB/s\n", bytes / 1e6)
}
