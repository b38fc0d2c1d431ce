//! What is different on a terminal: colours, lines that change, and input that is typed.
#![cfg(target_os = "linux")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use zerowire::{Context, PullSocket, PushSocket};

use crate::process::{DEADLINE, end_of};

/// The side of a pseudo-terminal where a person would sit.
struct Person {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

/// A pseudo-terminal: the person's side, and the one for programs.
fn terminal() -> (Person, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname_r(&master).unwrap();
    use std::os::unix::fs::OpenOptionsExt;
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(name)
        .unwrap();
    let keyboard = File::from(std::os::fd::OwnedFd::from(master));
    let mut output = keyboard.try_clone().unwrap();
    let (sender, screen) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The end is an error here.
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            let _ = sender.send(buffer[..read].to_vec());
        }
    });
    let person = Person {
        keyboard,
        screen,
        seen: String::new(),
    };
    (person, slave)
}

impl Person {
    /// Waits until this is on the screen.
    fn sees(&mut self, part: &str) {
        while !self.seen.contains(part) {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{error}: no `{part}` in {:?}", self.seen),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
}

fn zerowire(arguments: &str) -> Command {
    let mut command = Command::new(crate::program());
    command.args(arguments.split_whitespace());
    command
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env_remove("CLICOLOR_FORCE");
    command
}

#[test]
fn help_has_colours_on_a_terminal_only() {
    let (mut person, slave) = terminal();
    let child = zerowire("push --help").stdout(slave).spawn().unwrap();
    assert!(end_of(child).success());
    person.sees("Example");
    assert!(person.seen.contains("\x1b["), "{:?}", person.seen);
    let piped = zerowire("push --help").output().unwrap();
    assert!(!piped.stdout.contains(&0x1b));
}

#[test]
fn lines_that_are_typed_are_sent_until_control_d() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let (mut person, slave) = terminal();
    let child = zerowire(&format!("push -c {endpoint}"))
        .stdin(slave)
        .spawn()
        .unwrap();
    person.types("a line\n");
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"a line");
    person.types("\x04");
    assert!(end_of(child).success());
}

#[test]
fn a_proxy_shows_a_line_that_changes() {
    let (mut person, slave) = terminal();
    let child = zerowire("proxy streamer --front ipc://* --back ipc://*")
        .stdin(Stdio::null())
        .stderr(slave)
        .spawn()
        .unwrap();
    person.sees("front listening on ");
    person.sees("back listening on ");
    let endpoint = |name: &str| {
        let (_, rest) = person.seen.split_once(&format!("{name} listening on ")).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (front, back) = (endpoint("front"), endpoint("back"));
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.connect(back.as_str()).unwrap();
    let mut push = PushSocket::new(&context);
    push.connect(front.as_str()).unwrap();
    push.send("x").unwrap();
    pull.recv_timeout(DEADLINE).unwrap();
    person.sees("\r\x1b[Kfront to back 1 messages, 1 bytes; ");
    assert!(
        Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(end_of(child).success());
    person.sees("\r\x1b[Kfront to back 1 messages, 1 bytes; back to front 0 messages, 0 bytes\r\n");
}
