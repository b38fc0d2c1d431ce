//! Nothing that was sent is lost when the sending process ends right after its last send.

use zerowire_interop::{Cell, Library, PeerProcess, Pull, Scratch, assert_payload, matrix};

matrix! {
    two_processes_lose_nothing_when_each_exits_after_its_last_message,
    a_receiver_that_was_busy_gets_what_was_sent_before_the_sender_exited,
}

const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// (messages, bytes): many tiny ones, where the most messages are under way at the end; ordinary ones; some that do not
/// fit any buffer.
const LOADS: [(u64, usize); 3] = [(300_000, 1), (50_000, 100), (300, 100_000)];

fn two_processes_lose_nothing_when_each_exits_after_its_last_message(cell: Cell) {
    for (count, size) in LOADS {
        let scratch = Scratch::new();
        let wildcard = cell.transport.fresh(&scratch);
        let (binder, connector) = match cell.sender_binds() {
            true => ((cell.sender(), "push"), (cell.receiver(), "pull")),
            false => ((cell.receiver(), "pull"), (cell.sender(), "push")),
        };
        let binder = start(binder, "bind", &wildcard, count, size);
        let connector = start(connector, "connect", &binder.endpoint(), count, size);
        // A receiver fails if a message is missing or out of order.
        binder.finish();
        connector.finish();
    }
}

/// The application does not look at its socket until the sender is gone.
fn a_receiver_that_was_busy_gets_what_was_sent_before_the_sender_exited(cell: Cell) {
    // A libzmq receiver at its high-water mark drops what the kernel still holds when an ipc connection is closed, so
    // it gets less than its mark of 1,000. A zerowire receiver reads on beyond its own.
    let (count, size) = match cell.receiver() {
        Library::Libzmq => (900, 100),
        Library::Zerowire => (5_000, 1),
    };
    let scratch = Scratch::new();
    let wildcard = cell.transport.fresh(&scratch);
    let mut pull = Pull::new(cell.receiver());
    let sender = if cell.sender_binds() {
        let sender = start((cell.sender(), "push"), "bind", &wildcard, count, size);
        pull.connect(&sender.endpoint());
        sender
    } else {
        let endpoint = pull.bind(&wildcard);
        start((cell.sender(), "push"), "connect", &endpoint, count, size)
    };
    sender.finish();
    for index in 0..count {
        assert_payload(&pull.recv(), index, size);
    }
}

fn start(peer: (Library, &str), side: &str, endpoint: &str, count: u64, size: usize) -> PeerProcess {
    let (library, role) = peer;
    PeerProcess::start(
        PEER,
        &format!("{} {role} {side} {endpoint} {count} {size}", library.name()),
    )
}
