//! Other processes: this program once more, playing a part.
//!
//! A process is told what to do by lines on its standard input, and says what happens to it by lines on its standard output.
//! It ends when its input does, so none outlives a test that fails.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use zerowire::{
    Context, DealerSocket, Event, Monitor, PubSocket, PullSocket, PushSocket, RepSocket, RouterSocket, Stats,
};

use crate::support::{DEADLINE, wait_until};
use crate::{names, network};

/// A child that plays a part. Killed when dropped.
pub struct Process {
    part: String,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a process for a part, with its arguments, separated by spaces.
    pub fn start(part: impl Into<String>) -> Process {
        Process::start_by(Command::new(env::current_exe().unwrap()), part)
    }

    /// The same by a command that starts this program, in a namespace perhaps.
    pub fn start_by(mut command: Command, part: impl Into<String>) -> Process {
        let part = part.into();
        let mut child = command
            .args([
                "--exact",
                "process::another_process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PART, &part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            // What the test harness prints is not for us.
            let lines = output.lines().map_while(Result::ok);
            for line in lines.filter_map(|line| Some(line.strip_prefix(MARK)?.to_owned())) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Process {
            part,
            child,
            input,
            lines,
        }
    }

    /// The next line that it says.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(error) => panic!("`{}` says nothing: {error}", self.part),
        }
    }

    /// The next line has to be this.
    #[track_caller]
    pub fn says(&self, line: &str) {
        assert_eq!(self.line(), line, "said by `{}`", self.part);
    }

    /// Whether it says this soon, with whatever before it.
    pub fn says_within(&self, limit: Duration, line: &str) -> bool {
        let end = Instant::now() + limit;
        let left = || end.saturating_duration_since(Instant::now());
        std::iter::from_fn(|| self.lines.recv_timeout(left()).ok()).any(|said| said == line)
    }

    /// The next line has to be a number.
    #[track_caller]
    pub fn number(&self) -> u32 {
        self.line().parse().expect("a number")
    }

    /// What it has said and nobody has heard yet. Once it has ended, that is all that there will be.
    pub fn numbers_so_far(&self) -> impl Iterator<Item = u32> {
        self.lines.try_iter().map(|line| line.parse().expect("a number"))
    }

    /// What it says before its output ends, which killing it brings about.
    pub fn last_numbers(&self) -> impl Iterator<Item = u32> {
        self.lines.iter().map(|line| line.parse().expect("a number"))
    }

    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// `kill -9`; returns when the process is gone.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Stops the process as it stands; returns when none of its threads runs.
    pub fn stop(&self) {
        self.signal("STOP");
        wait_until("the process is stopped", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
            threads.map(Result::unwrap).all(|thread| {
                // The state comes behind the name, which is in parentheses.
                let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                state
                    .rsplit(')')
                    .next()
                    .is_some_and(|rest| rest.trim_start().starts_with('T'))
            })
        });
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "{script}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of a child, in its environment.
const PART: &str = "ZEROWIRE_FAULTS_PART";
/// What a child says begins with this.
const MARK: &str = "> ";

/// Not a test: the children begin here.
#[test]
fn another_process() {
    let Ok(part) = env::var(PART) else {
        return;
    };
    let (sender, commands) = channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
        process::exit(0);
    });
    let words: Vec<&str> = part.split(' ').collect();
    match words[..] {
        ["pull", endpoint] => pull(endpoint),
        ["rep", endpoint] => rep(endpoint),
        ["pub", endpoint, first] => publisher(endpoint, first.parse().unwrap(), &commands),
        ["dealer", how, endpoint, name, interval, timeout] => {
            dealer(
                how,
                endpoint,
                name,
                [interval, timeout].map(milliseconds),
                &commands,
            );
        }
        ["router", endpoint] => router(endpoint),
        ["push", endpoint] => push(endpoint, &commands),
        ["greet", address] => network::greet(address),
        ["resolve", name] => names::resolve(name),
        ["ask", endpoint] => names::ask(endpoint, &commands),
        ["mute", address] => names::mute(address),
        ["line", delay, lost_one_in] => {
            network::line(milliseconds(delay), lost_one_in.parse().unwrap(), &commands);
        }
        _ => panic!("no such part: {part}"),
    }
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

pub fn say(line: &str) {
    // On a line of its own, whatever the test harness has printed before.
    let mut output = io::stdout().lock();
    write!(output, "\n{MARK}{line}\n").unwrap();
}

/// Says each number that comes.
fn pull(endpoint: &str) {
    let context = Context::new();
    let builder = PullSocket::builder(&context).reconnect_max(Duration::from_millis(100));
    let mut pull = builder.receive_hwm(10).receive_buffer(128 << 10).build().unwrap();
    pull.connect(endpoint).unwrap();
    loop {
        let message = pull.recv().unwrap();
        say(&u32::from_be_bytes(message.as_bytes()[..4].try_into().unwrap()).to_string());
    }
}

/// Answers, except who asks it to keep the request.
fn rep(endpoint: &str) {
    let mut rep = RepSocket::new(&Context::new());
    rep.bind(endpoint).unwrap();
    say("bound");
    loop {
        let request = rep.next().unwrap();
        if request.message().as_bytes() == b"keep" {
            say("asked");
            loop {
                thread::park();
            }
        }
        request.reply("an answer").unwrap();
    }
}

/// Publishes numbers under the topic `a`, and others that nobody wants.
fn publisher(endpoint: &str, first: u32, commands: &Receiver<String>) {
    let mut publisher = PubSocket::new(&Context::new());
    publisher.bind(endpoint).unwrap();
    say("bound");
    for number in first.. {
        publisher.send([&b"a"[..], &number.to_be_bytes()]).unwrap();
        publisher.send([&b"b"[..], &number.to_be_bytes()]).unwrap();
        // So that nobody is too slow.
        let _ = commands.recv_timeout(Duration::from_micros(200));
    }
}

/// Says what comes, sends what it is told to, and counts the connections that ended.
fn dealer(how: &str, endpoint: &str, name: &str, beats: [Duration; 2], commands: &Receiver<String>) {
    let context = Context::new();
    let builder = DealerSocket::builder(&context)
        .heartbeat(beats[0])
        .heartbeat_timeout(beats[1]);
    let builder = builder
        .identity(name.to_owned())
        .reconnect_min(Duration::from_millis(1));
    let mut dealer = builder.reconnect_max(Duration::from_millis(100)).build().unwrap();
    let monitor = dealer.monitor();
    match how {
        "bind" => {
            dealer.bind(endpoint).unwrap();
            say("bound");
        }
        _ => dealer.connect(endpoint).unwrap(),
    }
    let mut ends = Vec::new();
    loop {
        if let Ok(message) = dealer.recv_timeout(Duration::from_millis(1)) {
            say(&format!("got {}", String::from_utf8_lossy(message.as_bytes())));
        }
        ends.extend(ends_of(&monitor));
        let Ok(command) = commands.try_recv() else {
            continue;
        };
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("send", text) => {
                dealer.send(text).unwrap();
                wait_until("it is in the kernel", || dealer.stats().sent.waiting == 0);
                say("sent");
            }
            ("ends", _) => say(&format!(
                "{} ends: {}",
                ends.len(),
                ends.last().map_or("", String::as_str)
            )),
            ("answers", _) => {
                wait_for_answers(&mut dealer);
                say("answered");
            }
            ("asks", _) => {
                // It has nothing else to say.
                let written = |dealer: &mut DealerSocket| -> u64 {
                    dealer.peer_stats().iter().map(|peer| peer.bytes_written).sum()
                };
                let before = written(&mut dealer);
                wait_until("a PING is sent", || written(&mut dealer) > before);
                say("asked");
            }
            _ => panic!("no such command: {command}"),
        }
    }
}

/// Waits for two answers to PINGs of a peer that has nothing else to say. From the first one on the heartbeat knows that it
/// answers. The second one is to a PING that was sent after the first had come, and so behind all messages that were handed
/// over before, unless the peer had left an earlier one waiting.
pub fn wait_for_answers(dealer: &mut DealerSocket) {
    let heard = |dealer: &mut DealerSocket| {
        dealer
            .peer_stats()
            .iter()
            .filter_map(|peer| peer.last_heard)
            .max()
    };
    for _ in 0..2 {
        let before = heard(dealer);
        wait_until("a PING is answered", || heard(dealer) > before);
    }
}

/// Why connections have ended since the last time.
fn ends_of(monitor: &Monitor) -> impl Iterator<Item = String> {
    let events = std::iter::from_fn(|| monitor.try_recv());
    events.filter_map(|event| match event {
        Event::Disconnected { reason, .. } => Some(reason.to_string()),
        _ => None,
    })
}

/// Sends as many numbers as it is told to, and says what became of them.
fn push(endpoint: &str, commands: &Receiver<String>) {
    let mut push = PushSocket::new(&Context::new());
    push.bind(endpoint).unwrap();
    say("bound");
    for count in commands {
        for number in 0..count.parse().unwrap() {
            let mut body = vec![7; 1000];
            body[..4].copy_from_slice(&u32::to_be_bytes(number));
            push.send(body).unwrap();
        }
        wait_until("all is handed over", || push.stats().sent.waiting == 0);
        let sent = checked(push.stats()).sent;
        say(&format!("{} = {} handed over", sent.accepted, sent.handed_over));
    }
}

/// Sends back what comes, and says it. Of its own accord it says nothing to its peers.
fn router(endpoint: &str) {
    let builder = RouterSocket::builder(&Context::new()).heartbeat(Duration::ZERO);
    let mut router = builder.build().unwrap();
    router.bind(endpoint).unwrap();
    say("bound");
    loop {
        let (peer, message) = router.recv_from().unwrap();
        say(&format!("got {}", String::from_utf8_lossy(message.as_bytes())));
        let _ = router.send_to(&peer, message);
    }
}

/// Checks what is always true, and returns the numbers.
#[track_caller]
pub fn checked(stats: Stats) -> Stats {
    let Stats { sent, received, .. } = &stats;
    let out = sent.handed_over + sent.waiting + sent.dropped.total();
    let taken = received.taken + received.waiting + received.discarded.total();
    assert_eq!((sent.accepted, received.received), (out, taken), "{stats:?}");
    stats
}
