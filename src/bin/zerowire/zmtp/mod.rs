//! ZMTP byte by byte, for looking on and for asking: what a peer says in little memory, and what a client says first.
//!
//! ```text
//!   greeting, 64 bytes     ff │ 8 padding │ 7f │ major │ minor │ mechanism, 20 │ as-server │ 31 zeros
//!   frame                  flags │ size, 1 byte or 8 │ body          flags: 1 MORE, 2 long size, 4 command
//!   body of a command      name size, 1 byte │ name │ data
//! ```
//!
//! It belongs to the tools that diagnose; connections of sockets are read by the library, which is stricter.

mod client;
mod decoder;
mod item;

pub use client::{VERSION_END, greeting, partners, ping, ready};
pub use decoder::{Decoder, FIRST_BYTES_KEPT, Fault};
pub use item::{Command, Greeting, Item, printable};

const GREETING_BYTES: usize = 64;

// What the flags of a frame mean.
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
