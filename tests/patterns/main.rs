//! How sockets behave, written once and run over every transport.
//!
//! Nothing here sleeps to let something happen: tests wait for messages, for monitor events or for conditions, and all of
//! them run under a deadline that fails loudly.
#![allow(clippy::unwrap_used)]

mod accounting;
mod asynchronous;
mod ceilings;
mod closing;
mod conflating;
mod conformance;
mod descriptors;
mod disconnecting;
mod dropping;
mod executors;
mod forwarding;
mod heartbeats;
mod high_water_mark;
mod hostile_peers;
mod kernel;
mod mistakes;
mod monitoring;
mod pairs;
mod pipeline;
mod proxying;
mod publishing;
mod raw;
mod reconnecting;
mod regressions;
mod requests;
mod room;
mod routing;
mod selecting;
mod shutting_down;
#[cfg(feature = "futures")]
mod streaming;
mod stress;
mod support;
mod unconnected;
mod waiting;
