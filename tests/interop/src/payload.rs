/// A body of `size` bytes that differs for every index and size, wherever in it one looks.
pub fn payload(index: u64, size: usize) -> Vec<u8> {
    let mut state = seed(index, size);
    let mut body = Vec::with_capacity(size + 8);
    while body.len() < size {
        body.extend_from_slice(&next(&mut state).to_le_bytes());
    }
    body.truncate(size);
    body
}

/// Panics unless `body` is `payload(index, size)`; says where it differs rather than printing megabytes.
#[track_caller]
pub fn assert_payload(body: &[u8], index: u64, size: usize) {
    assert_eq!(body.len(), size, "size of message {index}");
    let mut state = seed(index, size);
    for (block, bytes) in body.chunks(8).enumerate() {
        let expected = next(&mut state).to_le_bytes();
        assert_eq!(
            bytes,
            &expected[..bytes.len()],
            "message {index} of {size} bytes differs in block {block}"
        );
    }
}

fn seed(index: u64, size: usize) -> u64 {
    // An odd factor keeps neighbours apart; xorshift must not start at zero.
    (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (size as u64).rotate_left(32)) | 1 << 63
}

/// xorshift64: one step for eight bytes, so that 16 MiB are no burden.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_recognised() {
        for size in [0, 1, 7, 8, 9, 1000] {
            assert_payload(&payload(7, size), 7, size);
        }
    }

    #[test]
    fn payloads_of_other_messages_differ_from_the_first_byte_block_on() {
        assert_ne!(payload(1, 64)[..8], payload(2, 64)[..8]);
        assert_ne!(payload(1, 64)[..8], payload(1, 65)[..8]);
    }

    #[test]
    #[should_panic(expected = "differs in block 12")]
    fn a_changed_byte_is_found() {
        let mut body = payload(3, 100);
        body[99] ^= 1;
        assert_payload(&body, 3, 100);
    }
}
