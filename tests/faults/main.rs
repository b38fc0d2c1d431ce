//! What fails outside of the library: processes that are killed or stopped, connections that break at any byte, networks that
//! delay, lose and fall apart.
//!
//! Here the two ends of a connection really are apart: in processes of their own, behind a relay, or in network namespaces.
//! Nothing sleeps to let something happen, and every test has a deadline that fails loudly.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod breaking;
mod jammed;
mod killed;
mod names;
mod namespace;
mod network;
mod process;
mod relay;
mod stopped;
#[path = "../patterns/support.rs"]
#[allow(dead_code)]
mod support;
