//! Two hosts, in network namespaces, with a line between them that delays and loses packets, and that can be cut.
//!
//! The line is a process in a namespace of its own, which has one end of a virtual cable to each host and carries the packets
//! over, so nothing is asked of the kernel but namespaces and `veth`. Where those cannot be had, the tests say so and pass.

use std::collections::VecDeque;
use std::io::Read;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use crate::namespace::{Namespace, ip, or_skip};
use crate::process::{Process, say};
use crate::support::{wait_until, with_deadline};

/// Each packet takes this long, either way.
const DELAY: Duration = Duration::from_millis(20);
/// Of so many packets, one is lost.
const LOST_ONE_IN: u32 = 50;
/// The heartbeat of a host.
const INTERVAL: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(1);

#[test]
fn a_slow_line_that_loses_packets_loses_no_messages() {
    with_deadline(|| {
        const COUNT: u32 = 500;
        let Some(mut network) = or_skip(Network::set_up()) else {
            return;
        };
        let start = Instant::now();
        let mut push = network
            .far
            .start(format!("push tcp://{}:24242", network.far.address));
        push.says("bound");
        let pull = network
            .near
            .start(format!("pull tcp://{}:24242", network.far.address));
        push.tell(&COUNT.to_string());
        for number in 0..COUNT {
            assert_eq!(pull.number(), number);
        }
        push.says(&format!("{COUNT} = {COUNT} handed over"));
        // Connections, handshakes and messages go to and fro.
        assert!(start.elapsed() >= 6 * DELAY, "{:?}", start.elapsed());
        network.line.tell("how many were lost");
        assert!(network.line.number() > 0);
    });
}

#[test]
fn a_host_that_cannot_be_reached_is_given_up_until_it_can() {
    with_deadline(|| {
        let Some(network) = or_skip(Network::set_up()) else {
            return;
        };
        let endpoint = format!("tcp://{}:24242", network.far.address);
        let router = network.far.start(format!("router {endpoint}"));
        router.says("bound");
        let mut dealer = network.near.start(format!(
            "dealer connect {endpoint} near {} {}",
            INTERVAL.as_millis(),
            TIMEOUT.as_millis()
        ));
        for (round, cable) in [&network.near, &network.far].iter().enumerate() {
            exchange(&mut dealer, &router, &format!("round {round}"));
            let before = ends(&mut dealer);
            wait_until("the host is given up", || {
                // Before that, silence would mean nothing. Should the answers have been to earlier PINGs, it gets another
                // chance.
                wait_until_answered(&mut dealer);
                cable.set("down");
                let patience = Instant::now() + 3 * TIMEOUT;
                loop {
                    let line = ends(&mut dealer);
                    if line != before && line.ends_with(": no sign of life for 1s") {
                        return true;
                    }
                    if Instant::now() > patience {
                        cable.set("up");
                        return false;
                    }
                }
            });
            cable.set("up");
        }
        exchange(&mut dealer, &router, "at last");
    });
}

/// Sends something there and back. The first try may be lost with a connection that does not come to stay: for the router the
/// old one may still be there, and have the name.
fn exchange(dealer: &mut Process, router: &Process, text: &str) {
    let mut count = 0;
    wait_until("a message goes there and back", || {
        count += 1;
        let heard = format!("got {text} {count}");
        dealer.tell(&format!("send {text} {count}"));
        [dealer, router]
            .iter()
            .all(|process| process.says_within(3 * TIMEOUT, &heard))
    });
}

/// Waits until PINGs of this process have been answered.
fn wait_until_answered(dealer: &mut Process) {
    dealer.tell("answers");
    while dealer.line() != "answered" {}
}

/// How many connections have ended, and why the last one did.
fn ends(dealer: &mut Process) -> String {
    dealer.tell("ends");
    loop {
        let line = dealer.line();
        if line.contains(" ends: ") {
            return line;
        }
    }
}

struct Network {
    line: Process,
    near: Host,
    far: Host,
    /// The namespace of the line. Last, so that those who live in the namespaces are gone first.
    _between: Namespace,
}

struct Host {
    namespace: Namespace,
    address: &'static str,
}

impl Network {
    fn set_up() -> Result<Network, String> {
        let between = Namespace::add("line")?;
        let near = Host {
            namespace: Namespace::add("near")?,
            address: "198.18.0.1",
        };
        let far = Host {
            namespace: Namespace::add("far")?,
            address: "198.18.0.2",
        };
        for (host, mac) in [(&near, NEAR), (&far, FAR)] {
            let (name, line) = (host.namespace.name(), between.name());
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let cable = format!("to-{}", host.address.replace('.', "-").replace("198-18-", ""));
            ip(&format!(
                "link add {CABLE} address {mac} netns {name} type veth peer name {cable} netns {line}"
            ))?;
            ip(&format!("-n {line} link set {cable} up"))?;
            ip(&format!("-n {name} address add {}/24 dev {CABLE}", host.address))?;
            // Packets as they are on a wire, not many in one.
            ip(&format!("-n {name} link set {CABLE} gso_max_segs 1"))?;
        }
        let line = between.start(format!("line {} {LOST_ONE_IN}", DELAY.as_millis()));
        if let error @ ("no packets" | "") = line.line().as_str() {
            return Err(error.to_owned());
        }
        // Whoever has said something is known to the line.
        for (host, other) in [(&near, &far), (&far, &near)] {
            host.set("up");
            host.start(format!("greet {}", other.address)).says("greeted");
        }
        line.says("both are there");
        Ok(Network {
            line,
            near,
            far,
            _between: between,
        })
    }
}

impl Host {
    fn start(&self, part: String) -> Process {
        self.namespace.start(part)
    }

    /// Plugs the cable in, or pulls it out.
    fn set(&self, state: &str) {
        ip(&format!("-n {} link set {CABLE} {state}", self.namespace.name())).unwrap();
    }
}

/// What a host calls its end of the cable.
const CABLE: &str = "cable";
const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The part of a host that wants to be known: it asks the whole network for the other one.
pub fn greet(address: &str) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(b"hello", (address, 9)).unwrap();
    say("greeted");
}

/// The part of the line: carries packets from either end to the other, all but some.
pub fn line(delay: Duration, lost_one_in: u32, commands: &std::sync::mpsc::Receiver<String>) {
    const PACKET: i32 = 17;
    /// `ETH_P_ALL`, in the network's byte order.
    const ALL: i32 = 3u16.to_be() as i32;
    let Ok(mut socket) = Socket::new(PACKET.into(), Type::RAW, Some(ALL.into())) else {
        return say("no packets");
    };
    say("ready");
    // Where packets to each end go: there is where its own come from.
    let mut ends: [Option<SockAddr>; 2] = [None, None];
    let mut on_the_way: VecDeque<(Instant, usize, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; 1 << 17];
    let (mut seen, mut lost) = (0u32, 0);
    loop {
        let now = Instant::now();
        while on_the_way.front().is_some_and(|(due, ..)| *due <= now) {
            let (_, to, packet) = on_the_way.pop_front().unwrap();
            if let Some(end) = &ends[to] {
                // Into a cable that was pulled out, nothing goes.
                let _ = socket.send_to(&packet, end);
            }
        }
        if commands.try_recv().is_ok() {
            say(&lost.to_string());
        }
        let due = on_the_way.front().map_or(now + delay, |(due, ..)| *due);
        let wait = (due - now).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(wait)).unwrap();
        let Ok(sender) = socket.peek_sender() else {
            continue;
        };
        let Ok(count) = socket.read(&mut buffer) else {
            continue;
        };
        let packet = &mut buffer[..count];
        let Some(from) = [NEAR, FAR].iter().position(|mac| packet.get(6..12) == Some(mac)) else {
            continue;
        };
        if ends[from].replace(sender).is_none() && ends[1 - from].is_some() {
            say("both are there");
        }
        seen += 1;
        if seen % lost_one_in == 0 {
            lost += 1;
            continue;
        }
        complete_checksum(packet);
        on_the_way.push_back((Instant::now() + delay, 1 - from, packet.to_vec()));
    }
}

/// Does what the hardware of a real network does: within a machine, the kernel leaves the sum over a TCP segment open.
fn complete_checksum(packet: &mut [u8]) {
    const ETHERNET: usize = 14;
    if packet.get(12..14) != Some(&[8, 0]) || packet.get(ETHERNET + 9) != Some(&6) {
        return;
    }
    let header = usize::from(packet[ETHERNET] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([packet[ETHERNET + 2], packet[ETHERNET + 3]]));
    let (addresses, start, end) = (ETHERNET + 12..ETHERNET + 20, ETHERNET + header, ETHERNET + total);
    packet[start + 16..start + 18].fill(0);
    let length = (end - start) as u32;
    let words = |bytes: &[u8]| -> u32 {
        let pairs = bytes.chunks(2);
        pairs
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
            .sum()
    };
    let mut sum = 6 + length + words(&packet[addresses]) + words(&packet[start..end]);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[start + 16..start + 18].copy_from_slice(&(!sum as u16).to_be_bytes());
}
