//! Host names: one may have many addresses, and others tomorrow.
//!
//! The names are in the hosts file of a network namespace, so it is the system's resolver that is asked. Where namespaces
//! cannot be had, the tests say so and pass.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use zerowire::{Context, Event, Reason, ReqSocket};

use crate::namespace::{Namespace, ip, or_skip};
use crate::process::{Process, say};
use crate::support::{DEADLINE, with_deadline};

const NAME: &str = "server.test:24242";
const ADDRESSES: [&str; 3] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];

/// The addresses of a name are tried one after the other, without a pause, until at one of them there is who is wanted.
#[test]
fn all_addresses_of_a_name_are_tried() {
    with_deadline(|| {
        let Some(machine) = or_skip(Machine::set_up()) else {
            return;
        };
        machine.resolve_to(&ADDRESSES);
        let addresses = machine.addresses();
        let mut client = machine.start(format!("ask {NAME}"));
        // Later, one of them may be a server that is just about to die.
        let in_vain = Attempt::of(&client);
        assert_eq!(in_vain.tried, addresses);
        assert_eq!(in_vain.failures, [REFUSED; 3]);
        for wanted in [2, 1, 0, 2] {
            let mut server = machine.serve(&addresses[wanted]);
            let last = loop {
                let attempt = Attempt::of(&client);
                if attempt.succeeded {
                    break attempt;
                }
                assert_eq!(
                    (&attempt.tried, attempt.failures.len()),
                    (&addresses, addresses.len())
                );
            };
            assert_eq!(last.tried, addresses[..=wanted]);
            assert_eq!(last.failures.len(), wanted);
            client.tell("ask");
            client.says("told an answer");
            server.kill();
            client.says(&format!("lost {}", addresses[wanted]));
            client.says("again");
        }
    });
}

/// An address from which nothing comes, and one where somebody else lives, keep nobody from the next one.
#[test]
fn an_address_that_is_mute_or_of_somebody_else_is_passed_over() {
    with_deadline(|| {
        let Some(machine) = or_skip(Machine::set_up()) else {
            return;
        };
        machine.resolve_to(&ADDRESSES);
        let addresses = machine.addresses();
        let mute = machine.start(format!("mute {}", addresses[0]));
        mute.says("mute");
        let other = machine.start(format!("push tcp://{}", addresses[1]));
        other.says("bound");
        let _server = machine.serve(&addresses[2]);
        let mut client = machine.start(format!("ask {NAME}"));
        let attempt = Attempt::of(&client);
        assert_eq!((&attempt.tried, attempt.succeeded), (&addresses, true));
        let [late, wrong] = &attempt.failures[..] else {
            panic!("{attempt:?}");
        };
        assert_eq!(*late, Reason::ConnectTimeout(PATIENCE).to_string());
        assert!(wrong.contains("PUSH"), "{wrong}");
        client.tell("ask");
        client.says("told an answer");
    });
}

/// Whoever moves is found: what a name means is asked at each attempt, not once.
#[test]
fn a_name_that_moves_is_followed() {
    with_deadline(|| {
        let Some(machine) = or_skip(Machine::set_up()) else {
            return;
        };
        let [here, there, _] = ADDRESSES.map(|address| format!("{address}:24242"));
        let mut client = machine.start(format!("ask {NAME}"));
        let unknown = Attempt::of(&client);
        assert!(unknown.tried.is_empty() && !unknown.succeeded, "{unknown:?}");
        assert_eq!(unknown.failures.len(), 1, "{unknown:?}");
        let mut servers = [&here, &there].map(|address| machine.serve(address));
        for (round, place) in [0, 1, 0].into_iter().enumerate() {
            let address = [&here, &there][place];
            machine.resolve_to(&[ADDRESSES[place]]);
            while !Attempt::of(&client).succeeded {}
            client.tell("where");
            client.says(&format!("at {address}"));
            client.tell("ask");
            client.says("told an answer");
            if round == 1 {
                // Who left is back before the name is.
                servers[0] = machine.serve(&here);
            }
            servers[place].kill();
            client.says(&format!("lost {address}"));
            client.says("again");
            // The other server is there, but as yet the name is not.
            let in_vain = Attempt::of(&client);
            assert_eq!((in_vain.tried, in_vain.succeeded), (vec![address.clone()], false));
        }
    });
}

/// A machine on which the test decides what the name means.
struct Machine {
    namespace: Namespace,
    hosts: PathBuf,
}

impl Machine {
    /// At first, the name means nothing.
    fn set_up() -> Result<Machine, String> {
        let namespace = Namespace::add("names")?;
        ip(&format!("-n {} link set lo up", namespace.name()))?;
        // Who does not find a name in the file asks a name server, which is not there.
        namespace.add_file("resolv.conf", "nameserver 127.0.0.1\n")?;
        let hosts = namespace.add_file("hosts", &hosts(&[]))?;
        Ok(Machine { namespace, hosts })
    }

    /// From now on, the name has these addresses.
    fn resolve_to(&self, addresses: &[&str]) {
        // In place, and in one piece: a new file would not be seen, and half a one is not to be.
        let mut file = OpenOptions::new().write(true).open(&self.hosts).unwrap();
        let text = hosts(addresses);
        assert_eq!(file.write(text.as_bytes()).unwrap(), text.len());
    }

    /// The addresses, in the order that the resolver gives them.
    fn addresses(&self) -> Vec<String> {
        let line = self.start(format!("resolve {NAME}")).line();
        let addresses: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(addresses.len(), ADDRESSES.len(), "{line}");
        addresses
    }

    fn serve(&self, address: &str) -> Process {
        let server = self.start(format!("rep tcp://{address}"));
        server.says("bound");
        server
    }

    fn start(&self, part: String) -> Process {
        self.namespace.start(part)
    }
}

/// A hosts file, always of the same length.
fn hosts(addresses: &[&str]) -> String {
    let (name, _) = NAME.split_once(':').unwrap();
    let lines = addresses.iter().map(|address| format!("{address} {name}\n"));
    format!("{:200}\n", lines.collect::<String>())
}

/// What a client tells of an attempt to connect, up to a connection or a pause.
#[derive(Debug, Default)]
struct Attempt {
    tried: Vec<String>,
    failures: Vec<String>,
    succeeded: bool,
}

impl Attempt {
    /// The next one.
    #[track_caller]
    fn of(client: &Process) -> Attempt {
        let mut attempt = Attempt::default();
        loop {
            let line = client.line();
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("tries", address) => attempt.tried.push(address.to_owned()),
                ("fails:", reason) => attempt.failures.push(reason.to_owned()),
                ("up", _) => attempt.succeeded = true,
                ("again", _) => {}
                _ => panic!("`{line}` in {attempt:?}"),
            }
            if attempt.succeeded || line == "again" {
                return attempt;
            }
        }
    }
}

const REFUSED: &str = "Connection refused (os error 111)";
/// How long a client tries an address.
const PATIENCE: Duration = Duration::from_secs(1);

/// The part of who says what a name means.
pub fn resolve(name: &str) {
    let addresses = name.to_socket_addrs().unwrap();
    say(&addresses
        .map(|address| address.to_string())
        .collect::<Vec<_>>()
        .join(" "));
}

/// The part of a client, which says what becomes of its attempts to connect, and asks when it is told to.
pub fn ask(name: &str, commands: &Receiver<String>) {
    let builder = ReqSocket::builder(&Context::new()).connect_timeout(PATIENCE);
    let builder = builder.reconnect_min(Duration::from_millis(1));
    let mut req = builder.reconnect_max(Duration::from_millis(100)).build().unwrap();
    let monitor = req.monitor();
    req.connect(format!("tcp://{name}").as_str()).unwrap();
    let address = |remote: &str| remote.trim_start_matches("tcp://").to_owned();
    let mut last = String::new();
    loop {
        match monitor.recv_timeout(Duration::from_millis(1)) {
            Some(Event::Connecting { connection }) => say(&format!("tries {}", address(&connection.remote))),
            Some(Event::ConnectFailed { reason, .. } | Event::HandshakeFailed { reason, .. }) => {
                say(&format!("fails: {reason}"));
            }
            Some(Event::Retrying { .. }) => say("again"),
            Some(Event::HandshakeSucceeded { connection }) => {
                last = address(&connection.remote);
                say("up");
            }
            Some(Event::Disconnected { connection, .. }) => {
                say(&format!("lost {}", address(&connection.remote)));
            }
            _ => {}
        }
        match commands.try_recv().as_deref() {
            Ok("ask") => {
                let answer = req.request("hello", DEADLINE).unwrap();
                say(&format!("told {}", String::from_utf8_lossy(answer.as_bytes())));
            }
            Ok("where") => say(&format!("at {last}")),
            Ok(command) => panic!("no such command: {command}"),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }
}

/// The part of an address that answers nothing: the kernel keeps few callers waiting, and those who come after them are not
/// heard.
pub fn mute(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, PATIENCE).ok());
    let _waiting: Vec<TcpStream> = waiting.collect();
    say("mute");
    loop {
        thread::park();
    }
}
