//! Asks a server that crashes, or is too slow, and gets an answer all the same: REQ and REP.
//!
//! By hand: `req_rep server` in one terminal, `req_rep client` in another, which reads questions such as `1 2 3`; stop the
//! server and start it again. In a script: `seq 10 | req_rep client`.

use std::io::{self, BufRead, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand};
use zerowire::{Context, Endpoint, Message, RepSocket, ReqSocket, RequestError, SendError};

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a question is asked.
const ATTEMPTS: u32 = 5;

/// Adds up numbers: a client asks, a server answers.
#[derive(Parser)]
struct Arguments {
    /// By default a demonstration: a client, and a server with troubles.
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Answers questions until it is stopped.
    Server {
        #[arg(default_value = "tcp://127.0.0.1:7713")]
        endpoint: Endpoint,
    },
    /// Asks each line of standard input and prints the answers.
    Client {
        #[arg(default_value = "tcp://127.0.0.1:7713")]
        endpoint: Endpoint,
    },
}

fn main() -> Result<()> {
    let context = Context::new();
    match Arguments::parse().role {
        Some(Role::Server { endpoint }) => {
            let mut server = RepSocket::new(&context);
            writeln!(io::stdout(), "answers at {}", server.bind(endpoint)?)?;
            serve(&mut server)
        }
        Some(Role::Client { endpoint }) => {
            let mut client = ReqSocket::new(&context);
            client.connect(endpoint)?;
            for question in io::stdin().lock().lines() {
                let answer = ask(&mut client, &question?)?;
                writeln!(io::stdout(), "{answer}")?;
            }
            Ok(())
        }
        None => demonstrate(&context),
    }
}

fn serve(server: &mut RepSocket) -> Result<()> {
    loop {
        let request = server.next()?;
        let answer = add_up(request.message());
        match request.reply(answer) {
            // The client has given up, or is gone. It will ask again if it still wants to know.
            Err(SendError::PeerLost(_)) => {}
            sent => sent?,
        }
    }
}

fn add_up(question: &Message) -> String {
    let mut numbers = question.to_str().unwrap_or("?").split_whitespace();
    match numbers.try_fold(0.0, |sum, number| {
        number.parse::<f64>().map(|number| sum + number)
    }) {
        Ok(sum) => sum.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Asks until there is an answer. A question may so be answered twice, of which the server must not suffer: adding up
/// numbers does not, taking money from an account would.
fn ask(client: &mut ReqSocket, question: &str) -> Result<String> {
    for attempt in 1..=ATTEMPTS {
        match client.request(question, PATIENCE) {
            Ok(answer) => return Ok(answer.to_str()?.to_owned()),
            // In both cases the socket is ready for the next request, and a late reply to this one will never be received.
            Err(reason @ (RequestError::PeerLost | RequestError::Timeout)) => {
                writeln!(
                    io::stderr(),
                    "attempt {attempt} of {ATTEMPTS} to ask `{question}`: {reason}"
                )?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    bail!("no answer to `{question}`")
}

fn demonstrate(context: &Context) -> Result<()> {
    let mut server = RepSocket::new(context);
    let endpoint = server.bind("tcp://127.0.0.1:*")?;
    let mut client = ReqSocket::new(context);
    client.connect(&endpoint)?;

    let context = context.clone();
    thread::spawn(move || -> Result<()> {
        // The server dies with a question in its hands.
        server.recv()?;
        server.unbind(&endpoint)?;
        drop(server);
        // The next one, at the same place, leaves a question without an answer, and gets on from there.
        let mut server = RepSocket::new(&context);
        server.bind(&endpoint)?;
        drop(server.next()?);
        serve(&mut server)
    });

    for (question, expected) in [
        ("1 2 3", "6"),
        ("0.5 0.25", "0.75"),
        ("one", "invalid float literal"),
    ] {
        let answer = ask(&mut client, question)?;
        writeln!(io::stdout(), "{question} = {answer}")?;
        ensure!(answer == expected, "the answer should be {expected}");
    }
    Ok(())
}
