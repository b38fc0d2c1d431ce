//! The examples in the help do what they say when they are typed as they are printed.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::process::{DEADLINE, Zerowire, end_of, wait_until_signals_are_caught};

/// A terminal in which a line was typed.
struct Terminal {
    line: String,
    child: Child,
    told: Receiver<String>,
}

/// A directory of a test, removed with it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("zerowire-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Home(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Terminal {
    /// Types a line into a shell that knows the command. Nothing more is typed.
    fn open(line: &str, home: &Path) -> Terminal {
        let programs = crate::program().parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap();
        // Signals are for the command, not for the shell around it.
        let typed = match line.starts_with("zerowire ") {
            true => format!("exec {line}"),
            false => line.to_owned(),
        };
        let mut child = Command::new("sh")
            .args(["-c", &typed])
            .env("PATH", format!("{programs}:{path}"))
            .env("HOME", home)
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, told) = channel();
        thread::spawn(move || {
            errors
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        if !line.contains("zerowire ") {
            // What it does has to be done before the next line.
            child.wait().unwrap();
        }
        let terminal = Terminal {
            line: line.to_owned(),
            child,
            told,
        };
        terminal.wait_until_it_listens();
        terminal
    }

    fn wait_until_it_listens(&self) {
        let binds = ["-b ", "--front ", "--back ", "--listen ", "perf local_"];
        let count: usize = binds.iter().map(|option| self.line.matches(option).count()).sum();
        for _ in 0..count {
            let told = self.told.recv_timeout(DEADLINE).unwrap();
            assert!(told.contains("listening on "), "{}: {told}", self.line);
        }
    }

    /// Whether it ends by itself.
    fn is_finite(&self) -> bool {
        let goes_on = [
            "zerowire pull",
            "zerowire sub",
            "zerowire xsub",
            "zerowire xpub",
            "zerowire rep",
            "zerowire router",
            "zerowire pair",
            "zerowire proxy",
            "zerowire tap",
        ];
        !goes_on.iter().any(|command| self.line.starts_with(command))
    }

    fn close(self) {
        if !self.is_finite() {
            let id = self.child.id();
            wait_until_signals_are_caught(id);
            assert!(
                Command::new("kill")
                    .arg(id.to_string())
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let status = end_of(self.child);
        let told: Vec<String> = self.told.iter().collect();
        assert!(status.success(), "{}: {status}, {told:#?}", self.line);
    }
}

/// The lines of the examples in the help of a command.
fn examples(command: &str) -> Vec<String> {
    let help = Zerowire::run(&format!("{command} --help"), b"").well();
    let (_, examples) = help
        .split_once("\nExample")
        .unwrap_or_else(|| panic!("none in {help}"));
    let lines = examples.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

/// The same with ports that are free, and in less time.
fn adapted(mut lines: Vec<String>) -> Vec<String> {
    for port in (5555..5568).chain([6000]) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = free.local_addr().unwrap().port();
        for line in &mut lines {
            *line = line
                .replace(&format!(":{port}"), &format!(":{free}"))
                .replace(" 1000000", " 1000")
                .replace(" 10000", " 1000")
                .replace("--interval 1s", "--interval 10ms");
        }
    }
    lines
}

#[test]
fn what_the_help_shows_works() {
    let home = Home::new("examples");
    let mut shown = HashSet::new();
    let sockets = "push pull pub sub req rep dealer router pair xpub xsub";
    let others = "perf; perf local_thr; perf remote_thr; perf local_lat; perf remote_lat; perf inproc_thr; perf inproc_lat; \
                  proxy; proxy queue; proxy forwarder; proxy streamer; doctor; tap; completions";
    for command in sockets.split(' ').chain(others.split("; ")) {
        let lines = examples(command);
        assert!(
            lines
                .iter()
                .any(|line| line.contains(&format!("zerowire {command} "))),
            "{command}: {lines:#?}"
        );
        // Both ends of a conversation have the same example.
        if !shown.insert(lines.clone()) {
            continue;
        }
        let terminals: Vec<Terminal> = adapted(lines)
            .iter()
            .map(|line| Terminal::open(line, &home.0))
            .collect();
        // Those that end by themselves first, as they need the other ones.
        let (finite, others): (Vec<_>, Vec<_>) = terminals.into_iter().partition(Terminal::is_finite);
        finite.into_iter().chain(others).for_each(Terminal::close);
    }
    let script = home.0.join(".local/share/bash-completion/completions/zerowire");
    assert!(
        fs::read_to_string(script)
            .unwrap()
            .contains("complete -F _zerowire")
    );
}
