//! How sockets behave, written once and run over every transport.

mod pipeline;
mod support;
