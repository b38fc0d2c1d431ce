//! A chat of several processes: whoever is in a room hears what the others in it say.
//!
//! ```text
//!   ann ──PUSH──┐                    ┌──SUB──► ann       Members of every room say their lines to one server, which
//!               ├──► PULL server PUB ┤                   publishes them again. A room is a topic, so each member is
//!   bob ──PUSH──┘                    └──SUB──► bob       sent the lines of its own room only.
//! ```
//!
//! A line is a message of three parts: the room, a number that tells members of the same name apart, and the text. By hand,
//! in three terminals: `chat server`, `chat join ann`, `chat join bob`. In a script: `echo hello | chat join ann`.

#[path = "chat/demo.rs"]
mod demo;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use clap::{Args, Parser, Subcommand};
use zerowire::{
    Context, Endpoint, PubSocket, PullSocket, PushSocket, RecvTimeoutError, SlowSubscriber, SubSocket,
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A chat of several processes: whoever is in a room hears what the others in it say.
#[derive(Parser)]
struct Arguments {
    /// By default a demonstration.
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Passes on what members say, until it is stopped.
    Server {
        #[command(flatten)]
        endpoints: Endpoints,
    },
    /// Says the lines of standard input and shows those of the others; leaves at the end of input.
    Join {
        /// How the others see you.
        name: String,
        /// Where to be: you hear those who are in the same room.
        #[arg(long, default_value = "lobby")]
        room: String,
        #[command(flatten)]
        endpoints: Endpoints,
    },
    /// Starts a server and members in processes of their own, and checks who hears whom.
    Demo,
}

#[derive(Args)]
struct Endpoints {
    /// Where the server hears what members say.
    #[arg(default_value = "tcp://127.0.0.1:7711")]
    say: Endpoint,
    /// Where members hear what the server publishes.
    #[arg(default_value = "tcp://127.0.0.1:7712")]
    hear: Endpoint,
}

fn main() -> Result<()> {
    match Arguments::parse().role {
        Some(Role::Server { endpoints }) => serve(endpoints),
        Some(Role::Join {
            name,
            room,
            endpoints,
        }) => join(&name, &room, endpoints),
        Some(Role::Demo) | None => demo::run(),
    }
}

fn serve(endpoints: Endpoints) -> Result<()> {
    let context = Context::new();
    let mut lines = PullSocket::new(&context);
    let say = lines.bind(endpoints.say)?;
    // A flood of lines waits for those who read, and so reaches them all. Who has stopped reading holds up each line by a
    // moment once its queue is full, and misses it.
    let moment = SlowSubscriber::Block(Duration::from_millis(100));
    let rooms = PubSocket::builder(&context).slow_subscriber(moment);
    let mut rooms = rooms.send_hwm(100_000).build()?;
    let hear = rooms.bind(endpoints.hear)?;
    writeln!(io::stdout(), "to join: chat join NAME {say} {hear}")?;
    loop {
        rooms.send(lines.recv()?)?;
    }
}

fn join(name: &str, room: &str, endpoints: Endpoints) -> Result<()> {
    let context = Context::new();
    let mut hearing = SubSocket::new(&context);
    hearing.connect(&endpoints.hear)?;
    hearing.subscribe(room)?;
    // Before the server knows where we are, it would not send us our own first line.
    ensure!(
        hearing.wait_ready(PATIENCE).is_ok(),
        "no server at {}",
        endpoints.hear
    );

    let id = RandomState::new().hash_one(name).to_be_bytes();
    let joined = format!("* {name} is in room {room}");
    let left = format!("* {name} left");
    let mut saying = PushSocket::new(&context);
    saying.connect(endpoints.say)?;
    saying.send([room.as_bytes(), &id, joined.as_bytes()])?;
    let prefix = format!("{name}: ");
    let (in_room, last) = (room.to_owned(), left.clone());
    // Lines are waited for here and there, so there are two threads. After the last line comes one that says so.
    let typing = thread::spawn(move || -> Result<()> {
        for line in io::stdin().lock().split(b'\n') {
            let text = [prefix.as_bytes(), &line?].concat();
            saying.send([in_room.as_bytes(), &id, &text])?;
        }
        Ok(saying.send([in_room.as_bytes(), &id, last.as_bytes()])?)
    });

    loop {
        let message = match hearing.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) if typing.is_finished() => {
                typing
                    .join()
                    .map_err(|_| anyhow!("the typing thread panicked"))??;
                bail!("the server did not pass on the last line within {PATIENCE:?}");
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(error) => return Err(error.into()),
        };
        // A topic is a prefix: who wants `tea` is sent what is said in `teahouse`, too.
        let parts: Vec<&[u8]> = message.parts().collect();
        let &[topic, from, text] = parts.as_slice() else {
            continue;
        };
        if topic != room.as_bytes() || from == id && text != joined.as_bytes() && text != left.as_bytes() {
            continue;
        }
        // What others say must not move the cursor of this terminal.
        let shown = String::from_utf8_lossy(text).replace(char::is_control, " ");
        writeln!(io::stdout(), "{shown}")?;
        // All that we said was said before this, and what one member says stays in order.
        if from == id && text == left.as_bytes() {
            return Ok(());
        }
    }
}
