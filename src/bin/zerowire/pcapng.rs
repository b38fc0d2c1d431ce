//! Conversations as files that packet analysers read.
//!
//! There were streams and no packets, so each piece of a stream is written as one TCP segment between two addresses, made up where
//! there are none, with a handshake before and an end after. Blocks are those of the pcapng format (draft-ietf-opsawg-pcapng).
//!
//! ```text
//!   section header │ interface, raw IP │ packet │ packet │ …        packet: time │ IP header │ TCP header │ bytes
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::SystemTime;

/// A file that packets are appended to.
pub struct Capture {
    file: File,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// A connection as TCP would have it.
pub struct Flow {
    client: SocketAddr,
    server: SocketAddr,
    /// The next sequence number of the client and of the server.
    next: [u32; 2],
}

const SYN: u8 = 2;
const FIN: u8 = 1;
const PUSH: u8 = 8;
const ACK: u8 = 16;
/// What follows in packets is an IP header.
const LINKTYPE_RAW: u16 = 101;

impl Capture {
    /// Begins a file; one that there is, is replaced.
    pub fn create(path: &Path) -> io::Result<Capture> {
        let mut capture = Capture {
            file: File::create(path)?,
        };
        let mut section = Vec::new();
        section.extend(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend(1_u16.to_le_bytes());
        section.extend(0_u16.to_le_bytes());
        // Its length is not known.
        section.extend(u64::MAX.to_le_bytes());
        capture.block(0x0a0d_0d0a, &section)?;
        let mut interface = Vec::new();
        interface.extend(LINKTYPE_RAW.to_le_bytes());
        interface.extend([0; 6]);
        capture.block(1, &interface)?;
        Ok(capture)
    }

    fn packet(&mut self, packet: &[u8]) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let micros = now.as_micros() as u64;
        let mut body = Vec::with_capacity(packet.len() + 24);
        body.extend(0_u32.to_le_bytes());
        body.extend(((micros >> 32) as u32).to_le_bytes());
        body.extend((micros as u32).to_le_bytes());
        body.extend((packet.len() as u32).to_le_bytes());
        body.extend((packet.len() as u32).to_le_bytes());
        body.extend(packet);
        self.block(6, &body)
    }

    /// Writes a block in one piece, so that the file is whole whenever the command ends.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let padded = body.len().next_multiple_of(4);
        let length = (padded + 12) as u32;
        let mut block = Vec::with_capacity(padded + 12);
        block.extend(kind.to_le_bytes());
        block.extend(length.to_le_bytes());
        block.extend(body);
        block.resize(padded + 8, 0);
        block.extend(length.to_le_bytes());
        self.file.write_all(&block)
    }
}

impl Flow {
    /// A connection between the server's address and the client's, in this order, if it has some.
    pub fn new(addresses: Option<(SocketAddr, SocketAddr)>, number: u64) -> Flow {
        let made_up = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let (server, client) =
            addresses.unwrap_or_else(|| (made_up(1), made_up(1024 + (number % 60_000) as u16)));
        Flow {
            client,
            server,
            next: [0; 2],
        }
    }

    /// Writes the handshake.
    pub fn open(&mut self, capture: &mut Capture) -> io::Result<()> {
        self.segment(Direction::ToServer, SYN, &[], capture)?;
        self.segment(Direction::ToClient, SYN | ACK, &[], capture)?;
        self.segment(Direction::ToServer, ACK, &[], capture)
    }

    /// Writes bytes that go one way.
    pub fn data(&mut self, direction: Direction, bytes: &[u8], capture: &mut Capture) -> io::Result<()> {
        debug_assert!(bytes.len() < 65_000, "fits into a packet");
        self.segment(direction, PUSH | ACK, bytes, capture)
    }

    /// Writes the end of a direction.
    pub fn end(&mut self, direction: Direction, capture: &mut Capture) -> io::Result<()> {
        self.segment(direction, FIN | ACK, &[], capture)
    }

    fn segment(
        &mut self,
        direction: Direction,
        flags: u8,
        bytes: &[u8],
        capture: &mut Capture,
    ) -> io::Result<()> {
        let (from, to, ours) = match direction {
            Direction::ToServer => (self.client, self.server, 0),
            Direction::ToClient => (self.server, self.client, 1),
        };
        let acknowledged = if flags & ACK == 0 { 0 } else { self.next[1 - ours] };
        let mut tcp = Vec::with_capacity(20 + bytes.len());
        tcp.extend(from.port().to_be_bytes());
        tcp.extend(to.port().to_be_bytes());
        tcp.extend(self.next[ours].to_be_bytes());
        tcp.extend(acknowledged.to_be_bytes());
        // Five words of header; the largest window; the checksum follows; nothing is urgent.
        tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(bytes);
        let passed = bytes.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        self.next[ours] = self.next[ours].wrapping_add(passed);
        capture.packet(&packet(from.ip(), to.ip(), tcp))
    }
}

const TCP: u8 = 6;

/// Puts an IP header in front of a segment, and the checksums where they belong.
fn packet(from: IpAddr, to: IpAddr, mut tcp: Vec<u8>) -> Vec<u8> {
    let length = tcp.len() as u16;
    let mut packet;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let pseudo = [&from.octets()[..], &to.octets(), &[0, TCP], &length.to_be_bytes()].concat();
            set_checksum(&mut tcp, &pseudo);
            packet = vec![0x45, 0];
            packet.extend((20 + length).to_be_bytes());
            // No fragments; 64 hops.
            packet.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            let six = |address| match address {
                IpAddr::V6(address) => address.octets(),
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            };
            let pseudo = [
                &six(from)[..],
                &six(to),
                &u32::from(length).to_be_bytes(),
                &[0, 0, 0, TCP],
            ]
            .concat();
            set_checksum(&mut tcp, &pseudo);
            packet = vec![0x60, 0, 0, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([TCP, 64]);
            packet.extend(six(from));
            packet.extend(six(to));
        }
    }
    packet.extend(tcp);
    packet
}

fn set_checksum(tcp: &mut [u8], pseudo: &[u8]) {
    let sum = checksum(&[pseudo, tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of RFC 1071. All pieces but the last have an even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let sum: u64 = words
        .map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    !(folded as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_a_whole_packet_come_to_zero() {
        for addresses in [("192.0.2.1:5", "192.0.2.2:6"), ("[::1]:5", "[2001:db8::1]:6")] {
            let (from, to): (SocketAddr, SocketAddr) =
                (addresses.0.parse().unwrap(), addresses.1.parse().unwrap());
            let mut tcp = vec![0; 20];
            tcp.extend(b"an odd length");
            let length = tcp.len() as u16;
            let packet = packet(from.ip(), to.ip(), tcp);
            let (header, tcp) = packet.split_at(packet.len() - usize::from(length));
            let (source, rest) = match from {
                SocketAddr::V4(_) => {
                    assert_eq!(checksum(&[header]), 0);
                    (&header[12..20], [0, TCP].to_vec())
                }
                SocketAddr::V6(_) => (&header[8..40], [0, 0, 0, TCP].to_vec()),
            };
            assert_eq!(checksum(&[source, &rest, &length.to_be_bytes(), tcp]), 0);
        }
    }
}
