//! The command `zerowire` as a real process, with libzmq as the other side.
#![allow(clippy::unwrap_used)]

mod diagnosing;
mod exchanging;
mod measuring;
// As in the tests of the command with itself, some of which need more of it.
#[allow(dead_code)]
#[path = "../../../cli/process.rs"]
mod process;
mod proxying;
mod streams;
mod tapping;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The command, installed as the README says, so that it can be neither out of date nor another one.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        let status = Command::new(env!("CARGO"))
            .args(["install", "--quiet", "--locked", "--features", "cli", "--path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .arg("--root")
            .arg(&root)
            .status();
        assert!(status.unwrap().success(), "cargo install");
        root.join("bin/zerowire")
    });
    &PROGRAM
}
