//! What the race ran on, because a number without its machine says nothing.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

/// Facts, as name and value.
#[derive(Debug)]
pub struct Machine {
    pub facts: Vec<(&'static str, String)>,
}

/// Asks the operating system and the libraries.
pub fn describe() -> Machine {
    let unknown = || String::from("unknown");
    let (major, minor, patch) = zmq::version();
    Machine {
        facts: vec![
            (
                "cores",
                thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string()),
            ),
            ("processor", processor().unwrap_or_else(unknown)),
            (
                "kernel",
                line_of("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            ),
            ("load", line_of("/proc/loadavg").unwrap_or_else(unknown)),
            ("zerowire", zerowire_version()),
            ("libzmq", format!("{major}.{minor}.{patch}")),
            (
                "build",
                if cfg!(debug_assertions) {
                    "debug: use --release"
                } else {
                    "release"
                }
                .into(),
            ),
        ],
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts: Vec<String> = self
            .facts
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        f.write_str(&facts.join("\n"))
    }
}

fn line_of(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().into())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().into())
}

/// The version in the library's manifest, and the commit if the source is a checkout.
fn zerowire_version() -> String {
    let manifest = include_str!("../../../Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    let mut text = version.unwrap_or("unknown").trim_matches('"').to_string();
    let git = Command::new("git")
        .args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ])
        .output();
    if let Some(output) = git.ok().filter(|output| output.status.success()) {
        text += &format!(" ({})", String::from_utf8_lossy(&output.stdout).trim());
    }
    text
}
