//! What the tests of zerowire against real libzmq peers share.
//!
//! | file | what it is |
//! | --- | --- |
//! | `cell.rs` | one cell of the matrix role x bind side x transport, and the macro that runs a behaviour over all |
//! | `peers.rs` | PUSH and PULL of either library behind the same verbs |
//! | `watch.rs` | connection events of either library |
//! | `payload.rs` | bodies that tell which message they belong to |
//! | `deadline.rs` | a watchdog for everything that may block |
//! | `process.rs` | a peer in a process of its own |

mod cell;
mod deadline;
mod payload;
mod peers;
mod process;
mod watch;

pub use cell::{Cell, Role, Scratch, Transport};
pub use deadline::{CALL_TIMEOUT, Deadline};
pub use payload::{assert_payload, payload};
pub use peers::{Library, Libzmq, Pull, Push};
pub use process::PeerProcess;
pub use watch::{Happening, Watch};
