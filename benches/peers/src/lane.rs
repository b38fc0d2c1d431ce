//! Starts the processes of one round and reads their results.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::contestants::{Contestant, Transport};
use crate::race::{Run, Work};
use crate::runner::{Job, Part, Reading};

/// How long a process may be silent: far longer than any round.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Between two tries of [`Runner::whenever_silent`].
const PAUSE: Duration = Duration::from_millis(10);

/// Lets `contestant` carry `count` messages of `work` once.
pub fn run(contestant: Contestant, work: Work, count: u64) -> Result<Run, Box<dyn Error>> {
    let job = |part, endpoint: &str| Job {
        contestant,
        part,
        transport: work.transport,
        endpoint: endpoint.into(),
        count,
        size: work.size,
    };
    let (pull, push) = match work.transport {
        Transport::Inproc => (Runner::start(&job(Part::Both, "-").arguments())?.reading()?, None),
        Transport::Tcp => two_processes(job, "tcp://127.0.0.1:*")?,
        Transport::Ipc => {
            let directory = Directory::new()?;
            two_processes(job, &format!("ipc://{}", directory.path.join("socket").display()))?
        }
    };
    Ok(Run {
        count,
        wall: pull.wall,
        cpu: [pull.cpu, push.map_or(Duration::ZERO, |push| push.cpu)],
    })
}

type Readings = (Reading, Option<Reading>);

fn two_processes(job: impl Fn(Part, &str) -> Job, wildcard: &str) -> Result<Readings, Box<dyn Error>> {
    let mut pull = Runner::start(&job(Part::Pull, wildcard).arguments())?;
    let mut push = Runner::start(&job(Part::Push, &pull.line("endpoint ")?).arguments())?;
    let received = pull.reading()?;
    let sent = push.reading()?;
    pull.child.wait()?;
    push.child.wait()?;
    Ok((received, Some(sent)))
}

/// A process of this program's own binary. Ended when dropped before its result was read.
pub struct Runner {
    child: Child,
    lines: Receiver<String>,
    command: String,
}

impl Runner {
    pub fn start(arguments: &[String]) -> Result<Runner, Box<dyn Error>> {
        let mut child = Command::new(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no pipe to the runner")?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .all(|line| sender.send(line).is_ok())
        });
        Ok(Runner {
            child,
            lines,
            command: arguments.join(" "),
        })
    }

    /// The rest of the next line, which must begin with `prefix`.
    pub fn line(&self, prefix: &str) -> Result<String, Box<dyn Error>> {
        let line = self.lines.recv_timeout(SILENCE_MAX);
        let line = line.map_err(|error| format!("`{}` printed nothing more: {error}", self.command))?;
        Ok(line
            .strip_prefix(prefix)
            .ok_or_else(|| format!("`{}` printed `{line}`", self.command))?
            .into())
    }

    /// What it measured. Tells a sender that the receiver is done, so the receiver is to be asked first.
    fn reading(&mut self) -> Result<Reading, Box<dyn Error>> {
        drop(self.child.stdin.take());
        let (wall, cpu) = self.numbers()?;
        Ok(Reading {
            wall: Duration::from_nanos(wall),
            cpu: Duration::from_nanos(cpu),
        })
    }

    /// The two numbers of its result.
    pub fn numbers(&mut self) -> Result<(u64, u64), Box<dyn Error>> {
        let line = self.line("result ")?;
        let (one, other) = line.split_once(' ').ok_or("a result has two numbers")?;
        Ok((one.parse()?, other.parse()?))
    }

    /// Does something again and again, with pauses, until the process has ended: what it waits for may be dropped on the
    /// way.
    pub fn whenever_silent(
        mut self,
        mut action: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<Runner, Box<dyn Error>> {
        let end = Instant::now() + SILENCE_MAX;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(format!("`{}` does not end", self.command).into());
            }
            action()?;
            thread::sleep(PAUSE);
        }
        Ok(self)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Both do nothing to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For the socket file of one round.
pub struct Directory {
    pub path: PathBuf,
}

impl Directory {
    pub fn new() -> Result<Directory, Box<dyn Error>> {
        let path = env::temp_dir().join(format!("zerowire-peers-{}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Directory { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
