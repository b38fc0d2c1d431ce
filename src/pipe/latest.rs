//! A pipe of one place, in which the newest message wins: what a socket that conflates uses instead of a queue.
//!
//! A mutex is all it needs: whoever conflates does not care for each message.

use super::PipeId;
use super::inbound::Settled;
use super::inbox::Ready;
use super::sync::{Arc, HomeMutex};

/// Makes a pipe of one place. The reader is expected to look at it without being told, the first time.
pub(crate) fn pipe<T>(
    id: PipeId,
    writer: std::sync::Arc<dyn Ready>,
    reader: std::sync::Arc<dyn Ready>,
) -> (Writer<T>, Reader<T>) {
    let shared = Arc::new(Place {
        id,
        state: HomeMutex::default(),
        writer,
        reader,
    });
    (
        Writer {
            shared: shared.clone(),
        },
        Reader { shared },
    )
}

struct Place<T> {
    id: PipeId,
    state: HomeMutex<State<T>>,
    writer: std::sync::Arc<dyn Ready>,
    reader: std::sync::Arc<dyn Ready>,
}

struct State<T> {
    newest: Option<T>,
    /// The reader knows that there may be something.
    rung: bool,
    attached: bool,
    /// The reader is gone.
    abandoned: bool,
    /// The writer is gone.
    ended: bool,
    handed: u64,
    taken: u64,
    /// Messages that gave way to a newer one.
    replaced: u64,
}

/// What became of the messages of a pipe since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) handed: u64,
    pub(crate) taken: u64,
    /// Messages that gave way to a newer one.
    pub(crate) replaced: u64,
}

impl Counts {
    pub(crate) fn waiting(&self) -> u64 {
        self.handed - self.taken - self.replaced
    }
}

impl<T> Default for State<T> {
    fn default() -> State<T> {
        State {
            newest: None,
            rung: true,
            attached: false,
            abandoned: false,
            ended: false,
            handed: 0,
            taken: 0,
            replaced: 0,
        }
    }
}

impl<T> State<T> {
    fn counts(&self) -> Counts {
        Counts {
            handed: self.handed,
            taken: self.taken,
            replaced: self.replaced,
        }
    }
}

pub(crate) struct Writer<T> {
    shared: Arc<Place<T>>,
}

pub(crate) struct Reader<T> {
    shared: Arc<Place<T>>,
}

impl<T> Writer<T> {
    pub(crate) fn id(&self) -> PipeId {
        self.shared.id
    }

    /// Puts a message into the place, instead of the one that is there.
    pub(crate) fn put(&self, message: T) {
        let (older, ring) = {
            let mut state = self.shared.state.lock();
            let older = state.newest.replace(message);
            state.handed += 1;
            state.replaced += u64::from(older.is_some());
            (older, !std::mem::replace(&mut state.rung, true))
        };
        drop(older);
        if ring {
            self.shared.reader.ready(self.shared.id);
        }
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.shared.state.lock().attached
    }

    /// Whether the reader is gone, so that nothing put in will ever be read.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.shared.state.lock().abandoned
    }

    /// What became of the messages since the pipe was made.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.state.lock().counts()
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.reader.ready(self.shared.id);
    }
}

impl<T> Reader<T> {
    pub(crate) fn id(&self) -> PipeId {
        self.shared.id
    }

    /// Takes note that there is somebody to take messages, or nobody for a time; the writer's side is told.
    pub(crate) fn set_attached(&self, attached: bool) {
        self.shared.state.lock().attached = attached;
        self.shared.writer.ready(self.shared.id);
    }

    /// As [`set_attached`](Self::set_attached), for a caller that tells the writer itself.
    pub(crate) fn attach_quietly(&self) {
        self.shared.state.lock().attached = true;
    }

    /// What became of the messages since the pipe was made.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.state.lock().counts()
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.shared.state.lock().newest.is_some()
    }

    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.shared.state.lock();
        let newest = state.newest.take();
        state.taken += u64::from(newest.is_some());
        newest
    }

    /// To be called when nothing was found: makes sure that the next message is heard of.
    pub(crate) fn settle(&self) -> Settled {
        let mut state = self.shared.state.lock();
        if state.newest.is_some() {
            return Settled::Ready;
        }
        state.rung = false;
        if state.ended {
            Settled::Ended
        } else {
            Settled::Quiet
        }
    }

    /// Whether nothing is there, and nothing will come any more.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.shared.state.lock();
        state.ended && state.newest.is_none()
    }

    /// Whether nothing will come any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.state.lock().ended
    }

    /// Asks the writer to put nothing more in.
    pub(crate) fn leave(&self) {
        self.shared.state.lock().abandoned = true;
        self.shared.writer.ready(self.shared.id);
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use super::*;
    use crate::pipe::inbox::Inbox;

    #[test]
    fn the_newest_message_wins_and_the_reader_is_told_once() {
        let (sender, receiver) = (
            std::sync::Arc::new(Inbox::<()>::new()),
            std::sync::Arc::new(Inbox::<()>::new()),
        );
        let (writer, reader) = pipe(7, sender.clone(), receiver.clone());
        let told = |inbox: &Inbox<()>| {
            let mut pipes = Vec::new();
            inbox.take(&mut Vec::new(), &mut pipes);
            pipes
        };
        assert_eq!(reader.settle(), Settled::Quiet);
        writer.put(1);
        writer.put(2);
        assert_eq!(told(&receiver), [7]);
        let counts = |taken| Counts {
            handed: 2,
            taken,
            replaced: 1,
        };
        assert_eq!(writer.counts(), counts(0));
        assert_eq!(reader.settle(), Settled::Ready);
        assert_eq!((reader.take(), reader.take()), (Some(2), None));
        assert_eq!(writer.counts(), counts(1));
        assert_eq!(reader.counts(), counts(1));
        writer.put(3);
        drop(writer);
        assert_eq!(
            reader.settle(),
            Settled::Ready,
            "what was put in before the end is there"
        );
        assert_eq!(reader.take(), Some(3));
        assert_eq!(reader.settle(), Settled::Ended);
        drop(reader);
        assert_eq!(told(&sender), [7]);
    }
}
