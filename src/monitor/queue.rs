//! Events on their way to one reader: bounded, with the gaps in their places.
//!
//! Events are numbered as they happen. Those that say least have a queue of their own, so that a storm of them displaces
//! nothing else; they are merged by their numbers again, and a number that is missing is a gap.
//!
//! ```text
//!   major   2        5     7        read: 2, missed 2, 5, 6, 7, missed 1, 9
//!   minor               6        9
//! ```

use std::collections::VecDeque;

use super::Event;

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    major: VecDeque<Numbered>,
    minor: VecDeque<Numbered>,
    /// Number of the next event that happens.
    next: u64,
    /// Number of the first event that was not read and not told as missed. All that wait are as new or newer.
    unread: u64,
    /// Events told as missed.
    missed: u64,
}

#[derive(Debug)]
struct Numbered(u64, Event);

impl Queue {
    /// A queue in which `capacity` events wait, at least one.
    pub(super) fn new(capacity: usize) -> Queue {
        Queue {
            capacity: capacity.max(1),
            major: VecDeque::new(),
            minor: VecDeque::new(),
            next: 0,
            unread: 0,
            missed: 0,
        }
    }

    /// Adds an event. If that is one too many, the oldest of the minor ones goes, and without such the oldest of all.
    pub(super) fn push(&mut self, event: Event) {
        let queue = match event.is_minor() {
            true => &mut self.minor,
            false => &mut self.major,
        };
        queue.push_back(Numbered(self.next, event));
        self.next += 1;
        if self.major.len() + self.minor.len() > self.capacity && self.minor.pop_front().is_none() {
            self.major.pop_front();
        }
    }

    /// Takes the oldest event, or the gap before it.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let number = |queue: &VecDeque<Numbered>| queue.front().map_or(self.next, |waiting| waiting.0);
        let (major, minor) = (number(&self.major), number(&self.minor));
        let oldest = major.min(minor);
        if oldest > self.unread {
            let count = oldest - self.unread;
            self.unread = oldest;
            self.missed += count;
            return Some(Event::Missed { count });
        }
        let queue = if minor < major {
            &mut self.minor
        } else {
            &mut self.major
        };
        let Numbered(number, event) = queue.pop_front()?;
        self.unread = number + 1;
        Some(event)
    }

    /// Events that were displaced so far, told or not.
    pub(super) fn missed(&self) -> u64 {
        let waiting = (self.major.len() + self.minor.len()) as u64;
        self.missed + (self.next - self.unread - waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next == self.unread
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn minor(number: u64) -> Event {
        Event::Retrying {
            endpoint: String::new(),
            delay: Duration::from_secs(number),
        }
    }

    fn major(number: u64) -> Event {
        Event::Listening {
            endpoint: number.to_string(),
        }
    }

    fn gap(count: u64) -> Event {
        Event::Missed { count }
    }

    fn read(queue: &mut Queue) -> Vec<Event> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn both_kinds_come_in_the_order_in_which_they_happened() {
        let mut queue = Queue::new(8);
        let events = [major(0), minor(1), minor(2), major(3), minor(4)];
        for event in events.clone() {
            queue.push(event);
        }
        assert_eq!(read(&mut queue), events);
        assert!(queue.is_empty());
        assert_eq!(queue.missed(), 0);
    }

    #[test]
    fn a_storm_of_minor_events_displaces_no_other_and_leaves_gaps_where_it_was() {
        let mut queue = Queue::new(4);
        queue.push(major(0));
        (0..10).for_each(|number| queue.push(minor(number)));
        queue.push(major(1));
        (10..20).for_each(|number| queue.push(minor(number)));
        assert_eq!(queue.missed(), 18);
        assert_eq!(
            read(&mut queue),
            [major(0), gap(10), major(1), gap(8), minor(18), minor(19)]
        );
        assert_eq!(queue.missed(), 18);
    }

    #[test]
    fn without_minor_events_the_oldest_goes() {
        let mut queue = Queue::new(2);
        (0..5).for_each(|number| queue.push(major(number)));
        assert_eq!(read(&mut queue), [gap(3), major(3), major(4)]);
        queue.push(major(5));
        assert_eq!(read(&mut queue), [major(5)]);
    }

    #[test]
    fn a_minor_event_that_finds_no_room_is_a_gap_at_the_end() {
        let mut queue = Queue::new(1);
        queue.push(major(0));
        queue.push(minor(1));
        assert_eq!(queue.pop(), Some(major(0)));
        assert!(!queue.is_empty());
        assert_eq!(read(&mut queue), [gap(1)]);
        assert!(queue.is_empty());
    }

    /// Whatever is pushed and popped: nothing is out of order, and what is read and what is missed is all there was.
    #[test]
    fn read_and_missed_events_add_up() {
        let mut random = 1_u64;
        for capacity in 1..6 {
            let mut queue = Queue::new(capacity);
            let (mut pushed, mut next) = (0, 0);
            for _ in 0..10_000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match random >> 61 {
                    number @ 0..=5 => {
                        let event = if number < 3 { major(pushed) } else { minor(pushed) };
                        queue.push(event);
                        pushed += 1;
                    }
                    _ => match queue.pop() {
                        Some(Event::Missed { count }) => next += count,
                        Some(event) => {
                            assert!(
                                event == major(next) || event == minor(next),
                                "{event:?} is not {next}"
                            );
                            next += 1;
                        }
                        None => assert_eq!(next, pushed),
                    },
                }
                assert!(queue.major.len() + queue.minor.len() <= capacity);
            }
        }
    }
}
