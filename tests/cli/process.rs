//! The command as a child process whose ends are all observed, with deadlines that fail loudly.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for any machine; what takes so long has hung.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running `zerowire`. Dropping it kills it.
pub struct Zerowire {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    errors: Receiver<Vec<u8>>,
    /// What was read of standard error.
    told: Vec<String>,
}

/// What a process left behind.
pub struct Ended {
    pub status: ExitStatus,
    /// What standard output had beyond the lines that were read before.
    pub output: Vec<u8>,
    pub errors: Vec<String>,
}

impl Zerowire {
    /// Starts the command with an input that is open, and empty so far. Arguments are separated by blanks.
    pub fn start(arguments: &str) -> Zerowire {
        Zerowire::start_with(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// The same with arguments that may have blanks in them.
    pub fn start_with(arguments: &[impl AsRef<OsStr>]) -> Zerowire {
        Zerowire::start_program(crate::program(), arguments)
    }

    /// The same with another program.
    pub fn start_program(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Zerowire {
        let (mut process, output) = Zerowire::spawn(program, arguments);
        process.output = lines(output);
        process
    }

    /// Starts the command, and leaves it to the caller to read its output, or not to.
    pub fn start_unread(arguments: &str) -> (Zerowire, ChildStdout) {
        Zerowire::spawn(
            crate::program(),
            &arguments.split_whitespace().collect::<Vec<_>>(),
        )
    }

    fn spawn(program: &Path, arguments: &[impl AsRef<OsStr>]) -> (Zerowire, ChildStdout) {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let process = Zerowire {
            stdin: child.stdin.take(),
            output: channel().1,
            errors: lines(child.stderr.take().unwrap()),
            child,
            told: Vec::new(),
        };
        (process, output)
    }

    /// Starts a command that binds, and says where it listens.
    pub fn listening(arguments: &str) -> (Zerowire, String) {
        let mut process = Zerowire::start(arguments);
        let endpoint = process.told_endpoint("");
        (process, endpoint)
    }

    /// Runs a command to its end, with this for input.
    pub fn run(arguments: &str, input: &[u8]) -> Ended {
        let mut process = Zerowire::start(arguments);
        process.write(input);
        process.end()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to standard input.
    pub fn write(&mut self, input: &[u8]) {
        self.stdin
            .as_mut()
            .expect("input is open")
            .write_all(input)
            .unwrap();
    }

    /// Gives standard input away.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("input is open")
    }

    /// Waits for a line on standard error that has this in it, and returns it.
    pub fn told(&mut self, part: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            match self
                .errors
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let line = text(line);
                    self.told.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("{error}: nobody said `{part}`, but {:#?}", self.told),
            }
        }
    }

    /// Waits for it to say where it, or the end of it that is called so, listens.
    pub fn told_endpoint(&mut self, name: &str) -> String {
        let start = format!("{name} listening on ");
        let line = self.told(start.trim_start());
        line.trim_start_matches(start.trim_start()).to_owned()
    }

    /// Waits for a line on standard output, and returns it without its end.
    pub fn line(&mut self) -> Vec<u8> {
        let line = self.line_within(DEADLINE);
        line.unwrap_or_else(|| panic!("no line of output; told {:#?}", self.told))
    }

    /// The same, or nothing if there is none for so long.
    pub fn line_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        let mut line = self.output.recv_timeout(time).ok()?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Some(line)
    }

    /// Asks it to end, as a terminal or a supervisor does.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// The largest its memory has ever been, in bytes.
    pub fn memory_peak(&self) -> u64 {
        let peak = status_line(self.id(), "VmHWM:");
        let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        kib * 1024
    }

    /// Closes its input and waits until it ends.
    pub fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let mut output = Vec::new();
        drain(&self.output, |line| output.extend(line));
        let mut errors = std::mem::take(&mut self.told);
        drain(&self.errors, |line| errors.push(text(line)));
        // Its ends are closed, so it is about to go.
        let status = self.child.wait().unwrap();
        Ended {
            status,
            output,
            errors,
        }
    }
}

impl Drop for Zerowire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The exit status; fails if it was a signal.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("{}: {:#?}", self.status, self.errors))
    }

    /// The output, if it ended well.
    pub fn well(&self) -> String {
        assert_eq!(self.code(), 0, "{:#?}", self.errors);
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The one line in which it says what went wrong.
    pub fn reason(&self) -> &str {
        let mut lines = self
            .errors
            .iter()
            .filter_map(|line| line.strip_prefix("zerowire: "));
        match (lines.next(), lines.next()) {
            (Some(reason), None) => reason,
            _ => panic!("not one reason: {:#?}", self.errors),
        }
    }
}

/// Waits for the end of a process, which fails loudly if that does not come.
pub fn end_of(mut child: Child) -> ExitStatus {
    let id = child.id();
    let (sender, ended) = channel();
    thread::spawn(move || drop(sender.send(child.wait())));
    match ended.recv_timeout(DEADLINE) {
        Ok(status) => status.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            panic!("the process does not end");
        }
    }
}

/// Waits until a process takes care of SIGTERM itself, rather than being ended by it.
pub fn wait_until_signals_are_caught(id: u32) {
    let until = Instant::now() + DEADLINE;
    let caught = || u64::from_str_radix(&status_line(id, "SigCgt:"), 16).unwrap();
    while caught() & 1 << 14 == 0 {
        assert!(Instant::now() < until, "the process does not catch signals");
        thread::yield_now();
    }
}

/// What the kernel says of a process under this name.
fn status_line(id: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().to_owned()
}

fn text(line: Vec<u8>) -> String {
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Reads on a thread, so that a process never waits for us.
fn lines(source: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        loop {
            let mut line = Vec::new();
            match source.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => drop(sender.send(line)),
            }
        }
    });
    lines
}

fn drain(lines: &Receiver<Vec<u8>>, mut take: impl FnMut(Vec<u8>)) {
    let until = Instant::now() + DEADLINE;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => take(line),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => panic!("the process does not end"),
        }
    }
}
