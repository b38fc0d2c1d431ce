//! The options of a socket with their defaults and ranges. The builder's methods document them.

use std::time::Duration;

use bytes::Bytes;

use crate::error::OptionError;
use crate::message::Message;

#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) send_hwm: u64,
    pub(crate) receive_hwm: u64,
    pub(crate) linger: Duration,
    pub(crate) linger_max: Duration,
    pub(crate) max_message_bytes: u64,
    pub(crate) max_message_parts: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    /// Zero is off. None is the default, which depends on the transport.
    pub(crate) heartbeat: Option<Duration>,
    /// None is twice the interval.
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) reconnect_min: Duration,
    pub(crate) reconnect_max: Duration,
    pub(crate) backlog: u32,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) identity: Bytes,
    pub(crate) probe: bool,
    pub(crate) queue_unconnected: bool,
    pub(crate) conflate: bool,
    pub(crate) on_duplicate: OnDuplicate,
    pub(crate) drop_unroutable: bool,
    pub(crate) correlate: bool,
    pub(crate) relaxed: bool,
    pub(crate) slow_subscriber: SlowSubscriber,
    pub(crate) invert_matching: bool,
    pub(crate) topics_max: usize,
    pub(crate) topic_bytes_max: usize,
    pub(crate) verbosity: Verbosity,
    pub(crate) manual: bool,
    pub(crate) welcome: Option<Message>,
}

/// The kernel's own probes on a quiet tcp connection, which find out that the other machine is gone. Heartbeats find out that
/// the other program is.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PullSocket, TcpKeepalive};
///
/// let keepalive = TcpKeepalive {
///     idle: Duration::from_secs(60),
///     interval: Duration::from_secs(10),
///     probes: 6,
/// };
/// let pull = PullSocket::builder(&Context::new()).tcp_keepalive(keepalive).build()?;
/// # drop(pull);
/// # Ok::<(), zerowire::OptionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    /// How long a connection is quiet before the first probe: 1 s to 32,767 s, rounded down to seconds.
    pub idle: Duration,
    /// Time between probes: 1 s to 32,767 s, rounded down to seconds.
    pub interval: Duration,
    /// As many unanswered ones end the connection: 1 to 127.
    pub probes: u32,
}

/// What a [`RouterSocket`](crate::RouterSocket) does when a peer comes with the identity of one that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnDuplicate {
    /// The old peer is asked for a sign of life and keeps the name if it gives one within a second; otherwise the newcomer
    /// takes it over. A peer that is back before its old connection was found dead gets its name; nobody can push out a
    /// peer that is well.
    #[default]
    Challenge,
    /// The newcomer takes the name over, and the old connection is closed.
    TakeOver,
    /// The newcomer is refused.
    Reject,
}

/// What a publisher does about a subscriber that is at its high-water mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowSubscriber {
    /// It does not get the message; the others do.
    #[default]
    DropNewest,
    /// The send waits up to this long for room at every subscriber that is to get the message; then those that still have
    /// none do not get it.
    Block(Duration),
    /// The send fails, and nobody gets the message.
    Fail,
    /// It is disconnected, with all that was waiting for it; the others get the message.
    Disconnect,
}

/// Which subscriptions an [`XPubSocket`](crate::XPubSocket) is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verbosity {
    /// The first subscription to a topic, and the end of the last one.
    #[default]
    Changes,
    /// Every subscription, also to a topic that another peer has subscribed to; and the end of the last one.
    Subscriptions,
    /// Every subscription and the end of every one.
    All,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            send_hwm: 1000,
            receive_hwm: 1000,
            linger: Duration::from_secs(1),
            linger_max: Duration::from_secs(30),
            max_message_bytes: 64 << 20,
            max_message_parts: 1024,
            connect_timeout: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            heartbeat: None,
            heartbeat_timeout: None,
            tcp_keepalive: None,
            tcp_user_timeout: None,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            backlog: 1024,
            send_buffer: None,
            receive_buffer: None,
            identity: Bytes::new(),
            probe: false,
            queue_unconnected: true,
            conflate: false,
            on_duplicate: OnDuplicate::default(),
            drop_unroutable: false,
            correlate: false,
            relaxed: false,
            slow_subscriber: SlowSubscriber::default(),
            invert_matching: false,
            topics_max: 1_000_000,
            topic_bytes_max: 64 << 20,
            verbosity: Verbosity::default(),
            manual: false,
            welcome: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), OptionError> {
        within("send_hwm", self.send_hwm, 1, HWM_MAX)?;
        within("receive_hwm", self.receive_hwm, 1, HWM_MAX)?;
        within("max_message_bytes", self.max_message_bytes, 1, MESSAGE_BYTES_MAX)?;
        within("max_message_parts", self.max_message_parts.into(), 1, 1 << 20)?;
        if !self.identity.is_empty() && (self.identity.len() > 255 || self.identity[0] == 0) {
            return Err(OptionError::Identity {
                bytes: self.identity.len(),
                first_byte: self.identity[0],
            });
        }
        within("topics_max", self.topics_max as u64, 1, 1 << 32)?;
        within("topic_bytes_max", self.topic_bytes_max as u64, 1, 1 << 40)?;
        within("backlog", self.backlog.into(), 1, 65_535)?;
        for (option, value) in [
            ("send_buffer", self.send_buffer),
            ("receive_buffer", self.receive_buffer),
        ] {
            within(
                option,
                value.map_or(BUFFER_BYTES_MAX, |bytes| bytes as u64),
                1,
                BUFFER_BYTES_MAX,
            )?;
        }
        let day = Duration::from_secs(86_400);
        let milli = Duration::from_millis(1);
        if let SlowSubscriber::Block(timeout) = self.slow_subscriber {
            time_within("slow_subscriber", timeout, Duration::ZERO, day)?;
        }
        time_within("linger", self.linger, Duration::ZERO, day)?;
        time_within("linger_max", self.linger_max, Duration::ZERO, day)?;
        time_within("connect_timeout", self.connect_timeout, milli, day)?;
        time_within("handshake_timeout", self.handshake_timeout, milli, day)?;
        if let Some(interval) = self.heartbeat.filter(|interval| !interval.is_zero()) {
            time_within("heartbeat", interval, milli, day)?;
        }
        if let Some(timeout) = self.heartbeat_timeout {
            time_within("heartbeat_timeout", timeout, milli, day)?;
        }
        if let Some(keepalive) = &self.tcp_keepalive {
            let (second, most) = (Duration::from_secs(1), Duration::from_secs(32_767));
            time_within("tcp_keepalive idle", keepalive.idle, second, most)?;
            time_within("tcp_keepalive interval", keepalive.interval, second, most)?;
            within("tcp_keepalive probes", keepalive.probes.into(), 1, 127)?;
        }
        if let Some(timeout) = self.tcp_user_timeout {
            time_within("tcp_user_timeout", timeout, milli, day)?;
        }
        time_within("reconnect_min", self.reconnect_min, milli, day)?;
        time_within("reconnect_max", self.reconnect_max, self.reconnect_min, day)
    }
}

const HWM_MAX: u64 = 1_000_000;
/// What one machine word of any supported platform can count, with room for headers.
const MESSAGE_BYTES_MAX: u64 = i32::MAX as u64;
const BUFFER_BYTES_MAX: u64 = 1 << 30;

fn within(option: &'static str, value: u64, min: u64, max: u64) -> Result<(), OptionError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(OptionError::OutOfRange {
        option,
        value: value.to_string(),
        min: min.to_string(),
        max: max.to_string(),
    })
}

fn time_within(
    option: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<(), OptionError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(OptionError::OutOfRange {
        option,
        value: format!("{value:?}"),
        min: format!("{min:?}"),
        max: format!("{max:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_ranges() {
        assert_eq!(Options::default().check(), Ok(()));
    }

    #[test]
    fn a_value_outside_its_range_is_named() {
        let options = Options {
            send_hwm: 0,
            ..Options::default()
        };
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "option send_hwm is 0, allowed is 1 to 1000000"
        );
        let options = Options {
            reconnect_max: Duration::from_millis(50),
            ..Options::default()
        };
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "option reconnect_max is 50ms, allowed is 100ms to 86400s"
        );
    }
}
