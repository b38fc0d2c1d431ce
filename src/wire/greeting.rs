//! The greeting: the first 64 bytes each way.
//!
//! ```text
//!   0     1          9     10      11      12           32         33        64
//!   ┌─────┬──────────┬─────┬───────┬───────┬────────────┬──────────┬─────────┐
//!   │ ff  │ padding  │ 7f  │ major │ minor │ mechanism  │ as-server│ zeros   │
//!   └─────┴──────────┴─────┴───────┴───────┴────────────┴──────────┴─────────┘
//! ```
//!
//! Older versions wait for parts of it before they send more. We send all of it at once, so that whatever a peer waits
//! for has been sent already; that a peer too old for us cannot read it does no harm, as we leave it anyway.

use super::error::{ProtocolError, printable};

/// Size of a greeting.
pub(crate) const GREETING_BYTES: usize = 64;

/// The greeting of a side that speaks version 3.1 with this mechanism.
pub(crate) fn encode(mechanism: &'static str, as_server: bool) -> [u8; GREETING_BYTES] {
    debug_assert!(mechanism.len() <= MECHANISM_BYTES);
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = SIGNATURE_FIRST;
    greeting[SIGNATURE_END] = SIGNATURE_LAST;
    greeting[MAJOR] = 3;
    greeting[MINOR] = 1;
    for (field, byte) in greeting[MECHANISM..AS_SERVER].iter_mut().zip(mechanism.bytes()) {
        *field = byte;
    }
    greeting[AS_SERVER] = as_server.into();
    greeting
}

/// Reads the peer's greeting, of which `bytes` is what has come so far, and returns the version both sides speak.
///
/// `None` means that it is sound as far as it goes. A fault is reported as soon as the byte that shows it is there,
/// because a peer that speaks something else may never send 64 bytes.
///
/// The padding is not looked at: libzmq puts a length there for the sake of its version 1.0. Nor is as-server, which
/// libzmq leaves zero on servers too; two sides in the same role find out when neither, or both, begin.
pub(crate) fn parse(bytes: &[u8], ours: &'static str) -> Result<Option<(u8, u8)>, ProtocolError> {
    if let Some(&first_byte) = bytes.first() {
        if first_byte != SIGNATURE_FIRST {
            return Err(ProtocolError::NotZmtp { first_byte });
        }
    }
    match bytes.get(SIGNATURE_END) {
        None | Some(&SIGNATURE_LAST) => {}
        // The first frame of version 1.0 in its long form: here is the byte of flags, and MORE is never set in it.
        Some(byte) if byte & 1 == 0 => return Err(ProtocolError::VersionTooOld { major: 1, minor: 0 }),
        Some(&byte) => return Err(ProtocolError::BadSignature { byte }),
    }
    match bytes.get(MAJOR) {
        Some(0) => return Err(ProtocolError::VersionTooOld { major: 1, minor: 0 }),
        // Version 2.0 calls itself 1; what it has next is a socket type, not a minor version.
        Some(1 | 2) => return Err(ProtocolError::VersionTooOld { major: 2, minor: 0 }),
        _ => {}
    }
    if let Some(field) = bytes.get(MECHANISM..AS_SERVER) {
        check_mechanism(field, ours)?;
    }
    if bytes.len() < GREETING_BYTES {
        return Ok(None);
    }
    // A later version has to speak ours, so what is newer than 3.1 counts as 3.1.
    Ok(Some(if bytes[MAJOR] == 3 && bytes[MINOR] == 0 {
        (3, 0)
    } else {
        (3, 1)
    }))
}

fn check_mechanism(field: &[u8], ours: &'static str) -> Result<(), ProtocolError> {
    let end = field
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let name = &field[..end];
    if name == ours.as_bytes() {
        return Ok(());
    }
    let allowed = |byte: &u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'+')
    };
    if name.is_empty() || !name.iter().all(allowed) {
        return Err(ProtocolError::MalformedMechanism {
            name: printable(name),
        });
    }
    Err(ProtocolError::MechanismMismatch {
        ours,
        theirs: printable(name),
    })
}

const SIGNATURE_FIRST: u8 = 0xff;
const SIGNATURE_LAST: u8 = 0x7f;
const SIGNATURE_END: usize = 9;
const MAJOR: usize = 10;
const MINOR: usize = 11;
const MECHANISM: usize = 12;
const AS_SERVER: usize = 32;
const MECHANISM_BYTES: usize = AS_SERVER - MECHANISM;

#[cfg(test)]
mod tests {
    use super::*;

    /// The greeting of a libzmq 4 client with NULL: its padding holds the length of an identity, plus one.
    fn of_libzmq() -> [u8; GREETING_BYTES] {
        let mut greeting = encode("NULL", false);
        greeting[8] = 1;
        greeting
    }

    fn with(changes: &[(usize, u8)]) -> [u8; GREETING_BYTES] {
        let mut greeting = of_libzmq();
        for &(at, byte) in changes {
            greeting[at] = byte;
        }
        greeting
    }

    #[test]
    fn our_greeting_is_laid_out_as_rfc_37_says() {
        let mut expected = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1];
        expected.extend(b"NULL");
        expected.resize(GREETING_BYTES, 0);
        assert_eq!(encode("NULL", false)[..], expected[..]);
        expected[32] = 1;
        assert_eq!(encode("NULL", true)[..], expected[..]);
    }

    #[test]
    fn the_version_agreed_on_is_at_most_ours() {
        for (major, minor, version) in [
            (3, 0, (3, 0)),
            (3, 1, (3, 1)),
            (3, 9, (3, 1)),
            (4, 0, (3, 1)),
            (255, 255, (3, 1)),
        ] {
            assert_eq!(
                parse(&with(&[(MAJOR, major), (MINOR, minor)]), "NULL"),
                Ok(Some(version))
            );
        }
    }

    #[test]
    fn padding_as_server_and_filler_are_not_judged() {
        let mut greeting = with(&[(1, 0xaa), (8, 0xff), (AS_SERVER, 1)]);
        greeting[33..].fill(0x55);
        assert_eq!(parse(&greeting, "NULL"), Ok(Some((3, 1))));
    }

    #[test]
    fn a_sound_greeting_is_judged_at_its_last_byte() {
        let greeting = of_libzmq();
        for end in 0..GREETING_BYTES {
            assert_eq!(parse(&greeting[..end], "NULL"), Ok(None), "{end} bytes");
        }
        assert_eq!(parse(&greeting, "NULL"), Ok(Some((3, 1))));
    }

    #[test]
    fn a_fault_is_reported_with_the_byte_that_shows_it() {
        let mismatch = |theirs: &str| ProtocolError::MechanismMismatch {
            ours: "NULL",
            theirs: theirs.into(),
        };
        let malformed = |name: &str| ProtocolError::MalformedMechanism { name: name.into() };
        let old = |major, minor| ProtocolError::VersionTooOld { major, minor };
        for (changes, bytes_needed, error) in [
            (&[(0, b'G')][..], 1, ProtocolError::NotZmtp { first_byte: b'G' }),
            (&[(0, 1)], 1, ProtocolError::NotZmtp { first_byte: 1 }),
            (&[(9, 0)], 10, old(1, 0)),
            (&[(9, 0x7e)], 10, old(1, 0)),
            (&[(9, 0x01)], 10, ProtocolError::BadSignature { byte: 1 }),
            (&[(10, 0)], 11, old(1, 0)),
            (&[(10, 1)], 11, old(2, 0)),
            (&[(10, 2)], 11, old(2, 0)),
            (&[(12, b'F'), (15, b'Y')], 32, mismatch("FULY")),
            (&[(16, b'2')], 32, mismatch("NULL2")),
            (&[(15, 0)], 32, mismatch("NUL")),
            (&[(12, b'n')], 32, malformed("nULL")),
            (&[(12, 0)], 32, malformed("\\x00ULL")),
            (&[(12, 0), (13, 0), (14, 0), (15, 0)], 32, malformed("")),
            (
                &[(31, b'X')],
                32,
                malformed(&format!("NULL{}X", "\\x00".repeat(15))),
            ),
        ] {
            let greeting = with(changes);
            for end in 0..=GREETING_BYTES {
                let expected = if end < bytes_needed {
                    Ok(None)
                } else {
                    Err(error.clone())
                };
                assert_eq!(
                    parse(&greeting[..end], "NULL"),
                    expected,
                    "{end} bytes with {changes:?}"
                );
            }
        }
    }

    #[test]
    fn a_mechanism_may_fill_its_field() {
        let name = "ABCDEFGHIJ-_.+012345";
        assert_eq!(parse(&encode(name, false), name), Ok(Some((3, 1))));
        let theirs = name.into();
        assert_eq!(
            parse(&encode(name, false), "NULL"),
            Err(ProtocolError::MechanismMismatch { ours: "NULL", theirs })
        );
    }
}
