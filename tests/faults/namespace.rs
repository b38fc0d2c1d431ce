//! Network namespaces: processes in one see interfaces of their own, and may see files of their own in `/etc`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use crate::process::Process;

/// A network namespace, deleted when dropped. Nothing is in it at first but a loopback interface that is down.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Every namespace has a name of its own, of which `what` is the end.
    ///
    /// # Errors
    /// Why there is none: this machine or this user may have none to give.
    pub fn add(what: &str) -> Result<Namespace, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zerowire-{}-{number}-{what}", process::id());
        ip(&format!("netns add {name}"))?;
        Ok(Namespace { name })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Processes that are started from now on see this file in place of the one of this name in `/etc`. What is written into
    /// it later, they see too.
    pub fn add_file(&self, file: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.files().join(file);
        let written = fs::create_dir_all(self.files()).and_then(|()| fs::write(&path, text));
        match written {
            Ok(()) => Ok(path),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    pub fn start(&self, part: String) -> Process {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(env::current_exe().unwrap());
        Process::start_by(command, part)
    }

    /// Where `ip netns exec` looks for them.
    fn files(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&format!("netns delete {}", self.name));
        // Not what is around it: another run may be about to use that.
        let _ = fs::remove_dir_all(self.files());
    }
}

/// None if this machine has no namespaces for us, which is told.
pub fn or_skip<T>(network: Result<T, String>) -> Option<T> {
    if let Err(reason) = &network {
        // Past the test harness, which shows nothing of tests that pass.
        let _ = writeln!(io::stderr(), "skipped, for want of network namespaces: {reason}");
    }
    network.ok()
}

pub fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
