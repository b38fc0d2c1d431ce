//! The options of a socket with their defaults and ranges. The builder's methods document them.

use std::time::Duration;

use crate::error::OptionError;

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
    pub(crate) reconnect_min: Duration,
    pub(crate) reconnect_max: Duration,
    pub(crate) backlog: u32,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
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
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            backlog: 1024,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), OptionError> {
        within("send_hwm", self.send_hwm, 1, HWM_MAX)?;
        within("receive_hwm", self.receive_hwm, 1, HWM_MAX)?;
        within("max_message_bytes", self.max_message_bytes, 1, MESSAGE_BYTES_MAX)?;
        within("max_message_parts", self.max_message_parts.into(), 1, 1 << 20)?;
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
        time_within("linger", self.linger, Duration::ZERO, day)?;
        time_within("linger_max", self.linger_max, Duration::ZERO, day)?;
        time_within("connect_timeout", self.connect_timeout, milli, day)?;
        time_within("handshake_timeout", self.handshake_timeout, milli, day)?;
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
