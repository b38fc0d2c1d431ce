//! The demonstration: a server and members as child processes, who say hello, and a check of who heard whom.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::{env, thread};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::PATIENCE;

const MEMBERS: [(&str, &str); 5] = [
    ("ann", "tea"),
    ("bob", "tea"),
    ("cal", "tea"),
    ("dan", "teahouse"),
    ("eve", "teahouse"),
];
const LINES: [&str; 2] = ["hello", "how are you?"];

/// What a process printed, by its name.
type Printed = (&'static str, String);

pub fn run() -> Result<()> {
    let (printer, printed) = mpsc::channel();
    let mut server = Process::start(&["server", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*"])?;
    server.print_to("server", printer.clone())?;
    let (_, greeting) = next(&printed)?;
    let endpoints: Vec<&str> = greeting.split(' ').filter(|word| word.contains("://")).collect();

    let mut members = Vec::new();
    for (name, room) in MEMBERS {
        let mut member = Process::start(&[&["join", name, "--room", room], &endpoints[..]].concat())?;
        member.print_to(name, printer.clone())?;
        members.push(member);
        // Whoever says that it is in the room hears what is said from then on.
        let is_in = (name, format!("* {name} is in room {room}"));
        while next(&printed)? != is_in {}
    }
    drop(printer);
    for member in &mut members {
        for line in LINES {
            let typed = member.child.stdin.as_mut().context("a process without input")?;
            writeln!(typed, "{line}")?;
        }
    }

    let expected = expected();
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        heard.extend(Some(next(&printed)?).filter(is_spoken));
    }
    for mut member in members {
        let status = member.child.wait()?; // Closes its standard input first.
        ensure!(status.success(), "a member failed: {status}");
    }
    drop(server);
    heard.extend(printed.iter().filter(is_spoken));
    for (name, line) in &heard {
        writeln!(io::stdout(), "{name} heard {line}")?;
    }
    heard.sort();
    ensure!(
        heard == expected,
        "somebody heard something else than the others said"
    );
    writeln!(
        io::stdout(),
        "Everybody heard the others in the room, and nobody else."
    )?;
    Ok(())
}

/// Each line with everybody who is to hear it: the others in the room.
fn expected() -> Vec<Printed> {
    let mut expected = Vec::new();
    for (name, room) in MEMBERS {
        for (other, _) in MEMBERS.iter().filter(|other| other.1 == room && other.0 != name) {
            expected.extend(LINES.map(|line| (name, format!("{other}: {line}"))));
        }
    }
    expected.sort();
    expected
}

fn is_spoken(printed: &Printed) -> bool {
    !printed.1.starts_with("* ")
}

fn next(printed: &Receiver<Printed>) -> Result<Printed> {
    printed
        .recv_timeout(PATIENCE)
        .map_err(|_| anyhow!("a process did not print what it should"))
}

/// A process of this program, which ends with this value at the latest.
struct Process {
    child: Child,
}

impl Process {
    fn start(arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Ok(Process {
            child: command.spawn()?,
        })
    }

    fn print_to(&mut self, name: &'static str, printer: Sender<Printed>) -> Result<()> {
        let output = self.child.stdout.take().context("a process without output")?;
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(io::Result::ok);
            lines
                .map(|line| printer.send((name, line)))
                .all(|sent| sent.is_ok())
        });
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
