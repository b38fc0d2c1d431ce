//! A peer that speaks just enough ZMTP 3 to misbehave at will, over plain sockets of the standard library.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use socket2::SockRef;

use crate::support::{DEADLINE, ipc_path};

pub const MORE: u8 = 1;
pub const LONG: u8 = 2;
pub const COMMAND: u8 = 4;

/// A connection of which the test decides every byte.
pub enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub enum RawListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Raw {
    pub fn connect(endpoint: &str) -> Raw {
        let raw = match endpoint.strip_prefix("tcp://") {
            Some(address) => Raw::Tcp(TcpStream::connect(address).unwrap()),
            None => Raw::Unix(UnixStream::connect(ipc_path(endpoint)).unwrap()),
        };
        raw.with_deadlines()
    }

    /// Connects and shakes hands as a socket of the given type.
    pub fn peer(endpoint: &str, socket_type: &str) -> Raw {
        let mut raw = Raw::connect(endpoint);
        raw.shake_hands(socket_type);
        raw
    }

    pub fn shake_hands(&mut self, socket_type: &str) {
        self.send(&greeting());
        self.send(&ready(socket_type));
        self.read_handshake();
    }

    /// Reads the other side's greeting and READY.
    pub fn read_handshake(&mut self) {
        let mut theirs = [0; 64];
        self.read_exact(&mut theirs).expect("a greeting");
        assert_eq!((theirs[0], theirs[9], theirs[10]), (0xff, 0x7f, 3));
        let (flags, body) = self.read_frame();
        assert_eq!((flags, &body[..6]), (COMMAND, &b"\x05READY"[..]));
    }

    /// Writes all of it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.write_all(bytes).expect("the other side takes it");
    }

    /// Writes what the other side takes until it hangs up.
    pub fn send_if_taken(&mut self, bytes: &[u8]) {
        if let Err(error) = self.write_all(bytes) {
            assert!(is_hang_up(&error), "{error}");
        }
    }

    pub fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let (flags, size) = self.read_header();
        let mut body = vec![0; size];
        self.read_exact(&mut body).expect("the body of a frame");
        (flags, body)
    }

    /// Reads the header of a frame: its flags without LONG, and the size of its body.
    pub fn read_header(&mut self) -> (u8, usize) {
        let mut flags = [0];
        self.read_exact(&mut flags).expect("a frame");
        let size = if flags[0] & LONG == 0 {
            let mut size = [0];
            self.read_exact(&mut size).expect("a size");
            u64::from(size[0])
        } else {
            let mut size = [0; 8];
            self.read_exact(&mut size).expect("a size");
            u64::from_be_bytes(size)
        };
        (flags[0] & !LONG, usize::try_from(size).unwrap())
    }

    pub fn read_message(&mut self) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        loop {
            let (flags, body) = self.read_frame();
            if flags & COMMAND != 0 {
                continue;
            }
            parts.push(body);
            if flags & MORE == 0 {
                return parts;
            }
        }
    }

    /// Reads until the other side hangs up, and fails if it does not. Returns what came.
    pub fn read_to_hang_up(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert!(is_hang_up(&error), "the other side did not hang up: {error}"),
        }
        bytes
    }

    /// Waits until the other side has read all that was sent: it answers a PING behind it.
    pub fn wait_until_read(&mut self) {
        self.send(&ping(b"read?"));
        while self.read_frame() != (COMMAND, b"\x04PONGread?".to_vec()) {}
    }

    /// Whether something has come that was not read yet.
    pub fn has_bytes(&self) -> bool {
        let socket = self.socket();
        socket.set_nonblocking(true).unwrap();
        let found = socket.peek(&mut [MaybeUninit::uninit()]);
        socket.set_nonblocking(false).unwrap();
        matches!(found, Ok(1))
    }

    pub fn shutdown_write(&self) {
        match self {
            Raw::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Raw::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Sends again and again, until neither the other side nor the kernel takes more.
    pub fn fill_with(&mut self, bytes: &[u8]) {
        self.socket().set_nonblocking(true).unwrap();
        loop {
            match self.write_all(bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("the other side does not take it: {error}"),
            }
        }
        self.socket().set_nonblocking(false).unwrap();
    }

    /// Asks for a kernel buffer of about so many bytes, from before the handshake if it is to have an effect.
    pub fn set_receive_buffer(&self, bytes: usize) {
        self.socket().set_recv_buffer_size(bytes).unwrap();
    }

    pub fn set_send_buffer(&self, bytes: usize) {
        self.socket().set_send_buffer_size(bytes).unwrap();
    }

    pub fn set_write_timeout(&self, timeout: Duration) {
        self.socket().set_write_timeout(Some(timeout)).unwrap();
    }

    pub fn set_nonblocking(&self) {
        match self {
            Raw::Tcp(stream) => stream.set_nonblocking(true).unwrap(),
            Raw::Unix(stream) => stream.set_nonblocking(true).unwrap(),
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Raw::Tcp(stream) => SockRef::from(stream),
            Raw::Unix(stream) => SockRef::from(stream),
        }
    }

    fn with_deadlines(self) -> Raw {
        let limit = Some(DEADLINE);
        match &self {
            Raw::Tcp(stream) => {
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(limit).unwrap();
                stream.set_write_timeout(limit).unwrap();
            }
            Raw::Unix(stream) => {
                stream.set_read_timeout(limit).unwrap();
                stream.set_write_timeout(limit).unwrap();
            }
        }
        self
    }
}

impl RawListener {
    pub fn bind(endpoint: &str) -> RawListener {
        match endpoint.strip_prefix("tcp://") {
            Some(address) => RawListener::Tcp(TcpListener::bind(address).unwrap()),
            None => {
                let _ = std::fs::remove_file(ipc_path(endpoint));
                RawListener::Unix(UnixListener::bind(ipc_path(endpoint)).unwrap())
            }
        }
    }

    pub fn accept(&self) -> Raw {
        let raw = match self {
            RawListener::Tcp(listener) => Raw::Tcp(listener.accept().unwrap().0),
            RawListener::Unix(listener) => Raw::Unix(listener.accept().unwrap().0),
        };
        raw.with_deadlines()
    }
}

impl Drop for RawListener {
    fn drop(&mut self) {
        if let RawListener::Unix(listener) = self {
            if let Some(path) = listener.local_addr().unwrap().as_pathname() {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Raw::Tcp(stream) => stream.read(buffer),
            Raw::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Raw::Tcp(stream) => stream.write(bytes),
            Raw::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// The greeting of ZMTP 3.1 without security.
pub fn greeting() -> Vec<u8> {
    greeting_with(3, 1, b"NULL")
}

pub fn greeting_with(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9]) = (0xff, 0x7f);
    (bytes[10], bytes[11]) = (major, minor);
    bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
    bytes
}

pub fn ready(socket_type: &str) -> Vec<u8> {
    ready_with(&[("Socket-Type", socket_type.as_bytes())])
}

pub fn ready_with(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (name, value) in properties {
        data.push(u8::try_from(name.len()).unwrap());
        data.extend_from_slice(name.as_bytes());
        data.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        data.extend_from_slice(value);
    }
    command("READY", &data)
}

pub fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = vec![u8::try_from(name.len()).unwrap()];
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    frame(COMMAND, &body)
}

pub fn ping(context: &[u8]) -> Vec<u8> {
    command("PING", &[&[0, 0], context].concat())
}

/// A whole message.
pub fn message(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        bytes.extend(frame(if index + 1 < parts.len() { MORE } else { 0 }, part));
    }
    bytes
}

pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(flags, body.len() as u64);
    bytes.extend_from_slice(body);
    bytes
}

/// The header of a frame that announces so many bytes.
pub fn header(flags: u8, size: u64) -> Vec<u8> {
    match u8::try_from(size) {
        Ok(size) => vec![flags, size],
        Err(_) => [&[flags | LONG][..], &size.to_be_bytes()].concat(),
    }
}
