//! The bytes of ZMTP 3: one file for each noun of the protocol, each with functions that parse and functions that encode.
//!
//! Nothing here keeps state or knows what came before: a function gets bytes and says what they mean, that they are not
//! all there yet, or which rule they break ([`error::ProtocolError`]). What is kept between calls is in `engine`.
//!
//! ```text
//!   connection   greeting  frame  frame  frame  ...
//!   greeting     64 bytes: signature, version, mechanism
//!   frame        flags, size, body
//!   body         of a command (READY, PING, ...) or of one part of a message
//!   READY        properties: name, value, name, value, ...
//! ```

pub(crate) mod command;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod greeting;
pub(crate) mod properties;
pub(crate) mod socket_type;
