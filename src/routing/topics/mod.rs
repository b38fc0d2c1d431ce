//! Which subscribers a message is for: those that hold a topic with which it starts.
//!
//! Topics are kept in a radix tree, a node for each topic and for each place where topics part. Peers choose how many
//! there are, how long and how deeply nested, so nothing here recurses, and a node is 24 bytes in one vector, found by
//! its index. A node does not list its children: one hash table for the whole tree leads from a node and a byte to the
//! child whose label starts with that byte. This costs a few bytes a node, however many children there are, and a step
//! down the tree takes the same time at a node with two children and at one with 256.
//!
//! ```text
//!    held: "a", "abcd", "abxy"            nodes, each with its label
//!
//!    (root) -- "a"* -- "b" -+- "cd"*      * somebody holds what the labels from the root to here spell
//!                           +- "xy"*
//! ```
//!
//! Who holds what is a record for each topic and subscriber. It is in two lists, the one of its topic and the one of
//! its subscriber, so that a subscriber that leaves costs as much as its own topics do, and in a second hash table, so
//! that a topic that thousands hold can be taken up once more without a look at all of them.

mod table;

use std::ops::{Index, IndexMut, Range};

use table::{Hasher, Table};

/// The topics that subscribers hold, and who holds which.
///
/// Subscribers are small numbers, such as the keys of a slab: there is a vector as long as the largest of them.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    /// The root is at [`ROOT`] and has an empty label. Any other node that nobody holds has two children or more,
    /// unless its label and its only child's are too long for one.
    nodes: Store<Node>,
    /// The labels' bytes, appended and never changed. No two nodes share a byte.
    labels: Vec<u8>,
    /// Bytes of `labels` that are part of a label. The rest is idle, and reclaimed when it is the larger part.
    labels_used: usize,
    /// Leads from a node and a byte to its child; holds every node but the root.
    children: Table,
    holdings: Store<Holding>,
    /// Leads from a topic's node and a subscriber to its holding; holds every holding.
    held: Table,
    subscribers: Vec<Subscriber>,
    /// Subscribers that hold something.
    subscriber_count: usize,
    topic_count: usize,
    hasher: Hasher,
    /// Counts the messages matched, to tell a subscriber that was found for this one from one found for another.
    matched: u64,
    /// A topic put together from its labels; empty between calls.
    spelled: Vec<u8>,
}

/// What a change meant for the topic, all subscribers taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nobody held the topic before.
    First,
    /// Others hold it, or still do.
    More,
    /// Nobody holds it any more.
    Last,
    /// The subscriber held it already, or did not hold it.
    Nothing,
}

#[derive(Clone, Debug)]
struct Node {
    /// Where the label starts in [`Topics::labels`].
    label_start: u64,
    parent: u32,
    /// The first holding of the topic that ends here; [`NONE`] if this is not a topic.
    holders: u32,
    /// At most [`LABEL_BYTES_MAX`]; 0 only for the root and for nodes that are not in use.
    label_len: u16,
    /// At most 256.
    child_count: u16,
    /// The label's first byte, so that looking for a child reads no labels.
    first: u8,
    /// The children's first bytes, combined by exclusive or: with one child left, this is its first byte.
    child_mix: u8,
}

/// That a subscriber holds a topic.
#[derive(Clone, Debug, Default)]
struct Holding {
    node: u32,
    subscriber: u32,
    /// The neighbours among the holdings of the topic.
    of_topic: Links,
    /// The neighbours among the holdings of the subscriber.
    of_subscriber: Links,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    previous: u32,
    next: u32,
}

#[derive(Clone, Debug)]
struct Subscriber {
    /// Its first holding, or [`NONE`].
    holdings: u32,
    topics: usize,
    bytes: usize,
    /// Value of [`Topics::matched`] when it was last found.
    matched: u64,
}

impl Topics {
    /// Lets the subscriber hold the topic. Doing it again changes nothing.
    pub(crate) fn add(&mut self, topic: &[u8], subscriber: usize) -> Change {
        let subscriber = narrow(subscriber);
        let node = self.make_node(topic);
        let hash = self.hasher.hash(node, subscriber);
        if self.find_holding(hash, node, subscriber).is_some() {
            return Change::Nothing;
        }

        let first = self.nodes[node].holders == NONE;
        let holding = self.holdings.insert(Holding {
            node,
            subscriber,
            ..Holding::default()
        });
        self.link(holding);
        let (holdings, hasher) = (&self.holdings, &self.hasher);
        self.held
            .insert(hash, holding, |other| holdings[other].hash(hasher));

        let record = &mut self.subscribers[subscriber as usize];
        record.topics += 1;
        record.bytes += topic.len();
        self.subscriber_count += usize::from(record.topics == 1);
        self.topic_count += usize::from(first);
        if first { Change::First } else { Change::More }
    }

    /// Takes the topic from the subscriber.
    pub(crate) fn remove(&mut self, topic: &[u8], subscriber: usize) -> Change {
        let subscriber = narrow(subscriber);
        let Some(node) = self.find_node(topic) else {
            return Change::Nothing;
        };
        let hash = self.hasher.hash(node, subscriber);
        let Some(holding) = self.find_holding(hash, node, subscriber) else {
            return Change::Nothing;
        };

        let record = &mut self.subscribers[subscriber as usize];
        record.topics -= 1;
        record.bytes -= topic.len();
        self.subscriber_count -= usize::from(record.topics == 0);
        if self.end_holding(holding) {
            Change::Last
        } else {
            Change::More
        }
    }

    /// Takes all its topics from the subscriber. `gone` gets each of them, and whether nobody holds it any more.
    ///
    /// The cost grows with the topics of this subscriber and their lengths, not with those of others.
    pub(crate) fn remove_subscriber(&mut self, subscriber: usize, mut gone: impl FnMut(&[u8], bool)) {
        let Some(record) = self.subscribers.get_mut(subscriber) else {
            return;
        };
        self.subscriber_count -= usize::from(record.topics > 0);
        (record.topics, record.bytes) = (0, 0);
        let mut topic = std::mem::take(&mut self.spelled);
        loop {
            let holding = self.subscribers[subscriber].holdings;
            if holding == NONE {
                break;
            }
            self.spell(self.holdings[holding].node, &mut topic);
            let last = self.end_holding(holding);
            gone(&topic, last);
        }
        topic.clear();
        topic.shrink_to(BYTES_KEPT);
        self.spelled = topic;
    }

    /// Calls `found` for each subscriber the message is for, once for each, in no particular order.
    #[inline]
    pub(crate) fn matches(&mut self, message: &[u8], mut found: impl FnMut(usize)) {
        self.matched += 1;
        let mut place = Some((ROOT, 0));
        while let Some((node, at)) = place {
            let mut next = self.nodes[node].holders;
            while next != NONE {
                let holding = &self.holdings[next];
                next = holding.of_topic.next;
                let subscriber = holding.subscriber as usize;
                let matched = &mut self.subscribers[subscriber].matched;
                if std::mem::replace(matched, self.matched) != self.matched {
                    found(subscriber);
                }
            }
            place = self.step(node, message, at);
        }
    }

    /// Whether the message is for anybody.
    #[inline]
    pub(crate) fn matches_any(&self, message: &[u8]) -> bool {
        let mut place = Some((ROOT, 0));
        while let Some((node, at)) = place {
            if self.nodes[node].holders != NONE {
                return true;
            }
            place = self.step(node, message, at);
        }
        false
    }

    /// How many topics there are, each counted once however many hold it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.topic_count
    }

    /// How many topics the subscriber holds.
    pub(crate) fn topics_of(&self, subscriber: usize) -> usize {
        self.subscribers.get(subscriber).map_or(0, |record| record.topics)
    }

    /// The lengths of the topics the subscriber holds, added up. What they take here is often less, because topics that
    /// start alike share what they start with.
    pub(crate) fn bytes_of(&self, subscriber: usize) -> usize {
        self.subscribers.get(subscriber).map_or(0, |record| record.bytes)
    }

    /// How many subscribers hold at least one topic.
    pub(crate) fn subscribers(&self) -> usize {
        self.subscriber_count
    }

    /// Goes down from a node with `at` bytes of the message above it, if the message goes on like one of its children.
    #[inline]
    fn step(&self, node: u32, message: &[u8], at: usize) -> Option<(u32, usize)> {
        if self.nodes[node].child_count == 0 {
            return None;
        }
        let child = self.find_child(node, *message.get(at)?)?;
        // The first byte is known to agree. Most labels inside a large tree have no other.
        let label = self.nodes[child].label();
        let end = at + label.len();
        let rest = message.get(at + 1..end)?;
        (self.labels[label.start + 1..label.end] == *rest).then_some((child, end))
    }

    /// The node of a topic, if there is one. It may be there for others' sake, and not be held.
    fn find_node(&self, topic: &[u8]) -> Option<u32> {
        let (mut node, mut at) = (ROOT, 0);
        while at < topic.len() {
            (node, at) = self.step(node, topic, at)?;
        }
        Some(node)
    }

    /// The node of a topic, made if there is none.
    fn make_node(&mut self, topic: &[u8]) -> u32 {
        let mut node = ROOT;
        let mut rest = topic;
        while let Some(&byte) = rest.first() {
            let Some(child) = self.find_child(node, byte) else {
                return self.append_leaf(node, rest);
            };
            let label = self.nodes[child].label();
            let label_len = label.len();
            let common = common_prefix(&self.labels[label], rest);
            node = if common == label_len {
                child
            } else {
                self.split(child, common)
            };
            rest = &rest[common..];
        }
        node
    }

    /// Puts a leaf below a node, with nodes between if it takes more than one label.
    fn append_leaf(&mut self, parent: u32, rest: &[u8]) -> u32 {
        let mut node = parent;
        for label in rest.chunks(LABEL_BYTES_MAX) {
            let label_start = self.labels.len() as u64;
            reserve(&mut self.labels, label.len());
            self.labels.extend_from_slice(label);
            self.labels_used += label.len();
            let child = self.nodes.insert(Node {
                label_start,
                label_len: label.len() as u16,
                first: label[0],
                ..Node::default()
            });
            self.adopt(node, child);
            node = child;
        }
        node
    }

    /// Puts a node above this one, which takes over the first bytes of its label.
    fn split(&mut self, node: u32, at: usize) -> u32 {
        let lower = &self.nodes[node];
        let upper = Node {
            label_len: at as u16,
            holders: NONE,
            child_count: 0,
            child_mix: 0,
            ..lower.clone()
        };
        let slot = self.child_slot(upper.parent, upper.first);
        let upper = self.nodes.insert(upper);
        self.children.slots[slot] = upper;

        let lower = &mut self.nodes[node];
        lower.label_start += at as u64;
        lower.label_len -= at as u16;
        lower.first = self.labels[lower.label_start as usize];
        self.adopt(upper, node);

        // Inside a topic too long for one label, shorter ones may fit where longer ones did not.
        self.merge(node);
        self.merge(self.nodes[upper].parent);
        upper
    }

    /// Removes nodes that are of no use any more, starting with this one, if it is.
    fn prune(&mut self, node: u32) {
        let mut node = node;
        while node != ROOT && self.nodes[node].holders == NONE && self.nodes[node].child_count == 0 {
            let parent = self.nodes[node].parent;
            self.disown(node);
            self.labels_used -= self.nodes[node].label().len();
            self.nodes.remove(node);
            node = parent;
        }
        self.merge(node);
    }

    /// Removes a node that nobody holds if it has one child, which takes over its label, unless it grows too long.
    fn merge(&mut self, upper: u32) {
        let node = &self.nodes[upper];
        if upper == ROOT || node.holders != NONE || node.child_count != 1 {
            return;
        }
        let lower = self.children.slots[self.child_slot(upper, node.child_mix)];
        let (above, below) = (node.label(), self.nodes[lower].label());
        let label_len = above.len() + below.len();
        if label_len > LABEL_BYTES_MAX {
            return;
        }
        let label_start = if above.end == below.start {
            above.start
        } else {
            let start = self.labels.len();
            reserve(&mut self.labels, label_len);
            self.labels.extend_from_within(above);
            self.labels.extend_from_within(below);
            start
        };

        self.disown(lower);
        let Node { parent, first, .. } = self.nodes[upper];
        let slot = self.child_slot(parent, first);
        self.children.slots[slot] = lower;
        let node = &mut self.nodes[lower];
        (node.parent, node.first) = (parent, first);
        (node.label_start, node.label_len) = (label_start as u64, label_len as u16);
        self.nodes.remove(upper);
    }

    /// Makes a node, whose first byte is set, a child of another.
    fn adopt(&mut self, parent: u32, child: u32) {
        let first = self.nodes[child].first;
        self.nodes[child].parent = parent;
        let above = &mut self.nodes[parent];
        above.child_count += 1;
        above.child_mix ^= first;
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = hasher.hash(parent, u32::from(first));
        self.children
            .insert(hash, child, |other| nodes[other].hash(hasher));
    }

    /// Takes a node from its parent. Its own fields stay.
    fn disown(&mut self, child: u32) {
        let Node { parent, first, .. } = self.nodes[child];
        let slot = self.child_slot(parent, first);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.children.remove(slot, |other| nodes[other].hash(hasher));
        let above = &mut self.nodes[parent];
        above.child_count -= 1;
        above.child_mix ^= first;
    }

    #[inline]
    fn find_child(&self, parent: u32, byte: u8) -> Option<u32> {
        let hash = self.hasher.hash(parent, u32::from(byte));
        let slot = self.children.find(hash, |child| {
            let child = &self.nodes[child];
            (child.parent, child.first) == (parent, byte)
        })?;
        Some(self.children.slots[slot])
    }

    /// Where `children` keeps a child that is known to be there.
    fn child_slot(&self, parent: u32, byte: u8) -> usize {
        let hash = self.hasher.hash(parent, u32::from(byte));
        self.children
            .find(hash, |child| {
                let child = &self.nodes[child];
                (child.parent, child.first) == (parent, byte)
            })
            .expect("every node but the root is in the table of children")
    }

    fn find_holding(&self, hash: u64, node: u32, subscriber: u32) -> Option<u32> {
        let slot = self.held.find(hash, |holding| {
            let holding = &self.holdings[holding];
            (holding.node, holding.subscriber) == (node, subscriber)
        })?;
        Some(self.held.slots[slot])
    }

    /// Puts a new holding at the head of its two lists.
    fn link(&mut self, index: u32) {
        let Holding { node, subscriber, .. } = self.holdings[index];
        let subscriber = subscriber as usize;
        if self.subscribers.len() <= subscriber {
            self.subscribers.resize(subscriber + 1, Subscriber::default());
        }
        let after = std::mem::replace(&mut self.nodes[node].holders, index);
        self.holdings[index].of_topic.next = after;
        if after != NONE {
            self.holdings[after].of_topic.previous = index;
        }
        let after = std::mem::replace(&mut self.subscribers[subscriber].holdings, index);
        self.holdings[index].of_subscriber.next = after;
        if after != NONE {
            self.holdings[after].of_subscriber.previous = index;
        }
    }

    /// Takes a holding out of its lists and forgets it. Says whether it was the topic's last.
    fn end_holding(&mut self, index: u32) -> bool {
        let ended = self.holdings[index].clone();
        let slot = self
            .held
            .find(ended.hash(&self.hasher), |other| other == index)
            .expect("every holding is in the table of holdings");
        let (holdings, hasher) = (&self.holdings, &self.hasher);
        self.held.remove(slot, |other| holdings[other].hash(hasher));

        let Links { previous, next } = ended.of_topic;
        match previous {
            NONE => self.nodes[ended.node].holders = next,
            _ => self.holdings[previous].of_topic.next = next,
        }
        if next != NONE {
            self.holdings[next].of_topic.previous = previous;
        }
        let Links { previous, next } = ended.of_subscriber;
        match previous {
            NONE => self.subscribers[ended.subscriber as usize].holdings = next,
            _ => self.holdings[previous].of_subscriber.next = next,
        }
        if next != NONE {
            self.holdings[next].of_subscriber.previous = previous;
        }
        self.holdings.remove(index);

        let last = self.nodes[ended.node].holders == NONE;
        if last {
            self.topic_count -= 1;
            self.prune(ended.node);
            self.reclaim();
        }
        last
    }

    /// Puts the topic that ends at a node together, from its end to its start and then turned round.
    fn spell(&self, node: u32, topic: &mut Vec<u8>) {
        topic.clear();
        let mut node = node;
        while node != ROOT {
            topic.extend(self.labels[self.nodes[node].label()].iter().rev());
            node = self.nodes[node].parent;
        }
        topic.reverse();
    }

    /// Gives back memory that has fallen idle. The removals that left it there have paid for what this costs.
    fn reclaim(&mut self) {
        if self.topic_count == 0 {
            self.nodes.forget_after(1);
            self.holdings.forget_after(0);
            self.children.shrink_if_empty();
            self.held.shrink_if_empty();
            self.labels.clear();
            self.labels.shrink_to(BYTES_KEPT);
        }
        let idle = self.labels.len() - self.labels_used;
        if idle <= self.labels_used + self.nodes.items.len() + BYTES_KEPT {
            return;
        }
        let mut labels = Vec::with_capacity(self.labels_used);
        for node in &mut self.nodes.items {
            let label = node.label();
            node.label_start = labels.len() as u64;
            labels.extend_from_slice(&self.labels[label]);
        }
        debug_assert_eq!(labels.len(), self.labels_used);
        self.labels = labels;
    }
}

impl Default for Topics {
    fn default() -> Topics {
        let mut nodes = Store::default();
        nodes.insert(Node::default());
        Topics {
            nodes,
            labels: Vec::new(),
            labels_used: 0,
            children: Table::default(),
            holdings: Store::default(),
            held: Table::default(),
            subscribers: Vec::new(),
            subscriber_count: 0,
            topic_count: 0,
            hasher: Hasher::new(),
            matched: 0,
            spelled: Vec::new(),
        }
    }
}

impl Node {
    /// Where the label is in [`Topics::labels`].
    #[inline]
    fn label(&self) -> Range<usize> {
        let start = self.label_start as usize;
        start..start + usize::from(self.label_len)
    }

    fn hash(&self, hasher: &Hasher) -> u64 {
        hasher.hash(self.parent, u32::from(self.first))
    }
}

impl Holding {
    fn hash(&self, hasher: &Hasher) -> u64 {
        hasher.hash(self.node, self.subscriber)
    }
}

impl Default for Node {
    fn default() -> Node {
        Node {
            label_start: 0,
            parent: ROOT,
            holders: NONE,
            label_len: 0,
            child_count: 0,
            first: 0,
            child_mix: 0,
        }
    }
}

impl Default for Links {
    fn default() -> Links {
        Links {
            previous: NONE,
            next: NONE,
        }
    }
}

impl Default for Subscriber {
    fn default() -> Subscriber {
        Subscriber {
            holdings: NONE,
            topics: 0,
            bytes: 0,
            matched: 0,
        }
    }
}

/// Items that keep their index while others come and go.
#[derive(Clone, Debug, Default)]
struct Store<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Store<T> {
    fn insert(&mut self, item: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self[index] = item;
            return index;
        }
        reserve(&mut self.items, 1);
        self.items.push(item);
        narrow(self.items.len() - 1)
    }

    fn remove(&mut self, index: u32) {
        self[index] = T::default();
        self.free.push(index);
    }

    /// Drops all items but the first few, none of which is in use, and the memory of many.
    fn forget_after(&mut self, count: usize) {
        debug_assert_eq!(self.items.len() - self.free.len(), count);
        self.free.clear();
        self.free.shrink_to(ITEMS_KEPT);
        self.items.truncate(count);
        self.items.shrink_to(ITEMS_KEPT);
    }
}

impl<T> Index<u32> for Store<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.items[index as usize]
    }
}

impl<T> IndexMut<u32> for Store<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.items[index as usize]
    }
}

/// How many bytes two slices have in common at their start.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    if a[..len] == b[..len] {
        return len;
    }
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Makes room in steps of a quarter: doubling leaves half of the memory of a large tree unused just after it has grown.
fn reserve<T>(items: &mut Vec<T>, additional: usize) {
    if items.capacity() - items.len() < additional {
        items.reserve_exact(additional.max(items.len() / 4).max(4));
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .filter(|index| *index != NONE)
        .expect("the caps on peers and on their topics keep all counts below 2^32 - 1")
}

const ROOT: u32 = 0;
/// No node, no holding.
const NONE: u32 = u32::MAX;
/// The most that a label's length can say. A longer topic is a chain of labels.
const LABEL_BYTES_MAX: usize = u16::MAX as usize;
/// Memory for this many items is kept when the last topic goes, so that one topic coming and going allocates nothing.
const ITEMS_KEPT: usize = 64;
/// As for items: bytes of labels, and of the buffer that topics are put together in.
const BYTES_KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_for_those_who_hold_what_it_starts_with() {
        let topics = build(&[
            ("", 0),
            ("weather", 1),
            ("weather.oslo", 2),
            ("wind", 3),
            ("weather", 4),
        ]);
        for (message, expected) in [
            ("", &[0][..]),
            ("w", &[0]),
            ("weathe", &[0]),
            ("weather", &[0, 1, 4]),
            ("weather.o", &[0, 1, 4]),
            ("weather.oslo", &[0, 1, 2, 4]),
            ("weather.oslo 12", &[0, 1, 2, 4]),
            ("weather.bergen", &[0, 1, 4]),
            ("wind", &[0, 3]),
            ("Weather", &[0]),
        ] {
            let mut topics = topics.clone();
            assert_eq!(found(&mut topics, message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn nobody_is_found_where_nothing_is_held() {
        let mut topics = Topics::default();
        assert_eq!(found(&mut topics, b""), []);
        assert_eq!(found(&mut topics, b"anything"), []);
        topics.add(b"thing", 7);
        assert_eq!(found(&mut topics, b"anything"), []);
        assert_eq!(found(&mut topics, b"thin"), []);
        assert_eq!(found(&mut topics, b"things"), [7]);
    }

    #[test]
    fn a_subscriber_is_found_once_however_many_of_its_topics_match() {
        let mut topics = build(&[("", 3), ("a", 3), ("ab", 3), ("abc", 3), ("ab", 5)]);
        for _ in 0..3 {
            let mut order = Vec::new();
            topics.matches(b"abcd", |subscriber| order.push(subscriber));
            order.sort_unstable();
            assert_eq!(order, [3, 5]);
        }
    }

    #[test]
    fn a_change_says_what_it_meant_for_the_topic() {
        let mut topics = Topics::default();
        assert_eq!(topics.add(b"a", 0), Change::First);
        assert_eq!(topics.add(b"a", 0), Change::Nothing);
        assert_eq!(topics.add(b"a", 1), Change::More);
        assert_eq!(topics.add(b"ab", 1), Change::First);
        assert_eq!(topics.remove(b"ab", 0), Change::Nothing);
        assert_eq!(topics.remove(b"b", 0), Change::Nothing);
        assert_eq!(topics.remove(b"", 9), Change::Nothing);
        assert_eq!(topics.remove(b"a", 0), Change::More);
        assert_eq!(topics.remove(b"a", 0), Change::Nothing);
        assert_eq!(topics.remove(b"a", 1), Change::Last);
        assert_eq!(topics.remove(b"a", 1), Change::Nothing);
        assert_eq!(topics.add(b"a", 1), Change::First);
    }

    #[test]
    fn what_a_subscriber_holds_is_counted() {
        let mut topics = build(&[("", 0), ("abc", 0), ("abc", 2), ("abcde", 2)]);
        topics.add(b"abc", 0);
        assert_eq!((topics.len(), topics.subscribers()), (3, 2));
        let of = |topics: &Topics, subscriber| (topics.topics_of(subscriber), topics.bytes_of(subscriber));
        assert_eq!(
            [0, 1, 2, 3].map(|subscriber| of(&topics, subscriber)),
            [(2, 3), (0, 0), (2, 8), (0, 0)]
        );
        topics.remove(b"abc", 2);
        assert_eq!(
            (of(&topics, 2), topics.len(), topics.subscribers()),
            ((1, 5), 3, 2)
        );
        topics.remove(b"abcde", 2);
        assert_eq!(
            (of(&topics, 2), topics.len(), topics.subscribers()),
            ((0, 0), 2, 1)
        );
    }

    #[test]
    fn a_subscriber_that_leaves_reports_each_topic_and_whether_it_was_the_last() {
        let mut topics = build(&[("a", 0), ("ab", 0), ("abc", 0), ("ab", 1), ("x", 1), ("", 0)]);
        assert_eq!(
            leave(&mut topics, 0),
            [("", true), ("a", true), ("ab", false), ("abc", true)].map(|(topic, last)| (topic.into(), last))
        );
        check(&topics);
        assert_eq!(leave(&mut topics, 0), []);
        assert_eq!(leave(&mut topics, 1000), []);
        assert_eq!(found(&mut topics, b"abc"), [1]);
        assert_eq!((topics.len(), topics.subscribers()), (2, 1));
    }

    #[test]
    fn nothing_is_left_of_topics_that_come_and_go() {
        let mut topics = Topics::default();
        let mut names: Vec<String> = (0..5000)
            .map(|number: u32| format!("market.{}.price", number * 7919))
            .collect();
        for round in 0..2 {
            for (index, name) in names.iter().enumerate() {
                topics.add(name.as_bytes(), index % 7);
                topics.add(&name.as_bytes()[..name.len() / 2], index % 5);
            }
            check(&topics);
            names.rotate_left(1234 * round);
            for subscriber in 0..3 {
                topics.remove_subscriber(subscriber, |_, _| ());
            }
            for (index, name) in names.iter().enumerate() {
                for subscriber in 0..7 {
                    topics.remove(name.as_bytes(), subscriber);
                    topics.remove(&name.as_bytes()[..name.len() / 2], subscriber);
                }
                if index % 500 == 0 {
                    check(&topics);
                }
            }
            assert_eq!((topics.len(), nodes(&topics)), (0, 1));
            assert!(
                memory_bytes(&topics) < 16 * 1024,
                "{} bytes",
                memory_bytes(&topics)
            );
        }
    }

    #[test]
    fn labels_of_topics_gone_are_reclaimed_while_others_stay() {
        let mut topics = build(&[("keep", 0)]);
        for number in 0..100_000_u32 {
            let name = format!("{number:020}");
            topics.add(name.as_bytes(), 1);
            topics.add(&name.as_bytes()[..18], 1);
            topics.remove(name.as_bytes(), 1);
            topics.remove(&name.as_bytes()[..18], 1);
        }
        check(&topics);
        assert_eq!(found(&mut topics, b"keeper"), [0]);
        assert!(
            memory_bytes(&topics) < 32 * 1024,
            "{} bytes",
            memory_bytes(&topics)
        );
    }

    #[test]
    fn a_topic_of_a_mebibyte_is_a_topic() {
        let topic = vec![b'x'; 1 << 20];
        let mut topics = Topics::default();
        assert_eq!(topics.add(&topic, 0), Change::First);
        assert_eq!(topics.add(&topic[..topic.len() / 2], 1), Change::First);
        check(&topics);
        assert_eq!(found(&mut topics, &topic[1..]), [1]);
        assert_eq!(found(&mut topics, &topic), [0, 1]);
        assert_eq!(leave(&mut topics, 0), [(topic.clone(), true)]);
        assert_eq!(leave(&mut topics, 1), [(topic[..topic.len() / 2].to_vec(), true)]);
        assert_eq!(nodes(&topics), 1);
    }

    #[test]
    fn labels_inside_a_long_topic_grow_together_where_they_fit() {
        let long = vec![b'x'; 2 * LABEL_BYTES_MAX - 10];
        let mut topics = Topics::default();
        topics.add(&long, 0);
        assert_eq!(nodes(&topics), 1 + 2);
        topics.add(&long[..1000], 1);
        assert_eq!(nodes(&topics), 1 + 3);
        // This splits the third label, whose start then fits with the second, which nobody holds.
        topics.add(&long[..LABEL_BYTES_MAX + 1000], 2);
        check(&topics);
        assert_eq!(nodes(&topics), 1 + 3);
        topics.remove(&long[..1000], 1);
        check(&topics);
        assert_eq!(found(&mut topics, &long), [0, 2]);
    }

    #[test]
    fn topics_nested_a_hundred_thousand_deep_are_no_burden() {
        // The longest first, or each would have to go down through all that are shorter.
        let longest = vec![b'x'; 100_000];
        let mut topics = Topics::default();
        for len in (1..=longest.len()).rev() {
            topics.add(&longest[..len], len % 2);
        }
        assert_eq!((topics.len(), nodes(&topics)), (100_000, 100_001));
        assert_eq!(found(&mut topics, &longest), [0, 1]);
        assert_eq!(topics.remove(&longest, 0), Change::Last);

        let deep = topics.clone();
        drop(deep);
        for len in 1..longest.len() {
            assert_eq!(topics.remove(&longest[..len], len % 2), Change::Last);
        }
        assert_eq!(nodes(&topics), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(Vec<u8>, usize),
        Remove(Vec<u8>, usize),
        Leave(usize),
        Match(Vec<u8>),
    }

    /// Topics of few letters, so that they nest and part everywhere.
    fn steps(letters: usize, count: usize) -> impl Strategy<Value = Vec<Step>> {
        let topic = || vec(proptest::sample::select(&b"abc"[..]), 0..letters);
        vec(
            prop_oneof![
                8 => (topic(), 0..4_usize).prop_map(|(topic, subscriber)| Step::Add(topic, subscriber)),
                6 => (topic(), 0..4_usize).prop_map(|(topic, subscriber)| Step::Remove(topic, subscriber)),
                1 => (0..5_usize).prop_map(Step::Leave),
                4 => topic().prop_map(Step::Match),
            ],
            0..count,
        )
    }

    /// Runs the steps on the topics and on a list of pairs, with every letter written `repeat` times.
    fn agrees_with_a_list(steps: Vec<Step>, repeat: usize) {
        let stretch = |topic: Vec<u8>| -> Vec<u8> {
            topic
                .iter()
                .flat_map(|&letter| std::iter::repeat_n(letter, repeat))
                .collect()
        };
        let mut topics = Topics::default();
        let mut oracle: Vec<(Vec<u8>, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Add(topic, subscriber) => {
                    let topic = stretch(topic);
                    let expected = if oracle.contains(&(topic.clone(), subscriber)) {
                        Change::Nothing
                    } else if oracle.iter().any(|(other, _)| *other == topic) {
                        Change::More
                    } else {
                        Change::First
                    };
                    assert_eq!(topics.add(&topic, subscriber), expected);
                    if expected != Change::Nothing {
                        oracle.push((topic, subscriber));
                    }
                }
                Step::Remove(topic, subscriber) => {
                    let topic = stretch(topic);
                    let before = oracle.len();
                    oracle.retain(|(other, by)| (other, *by) != (&topic, subscriber));
                    let expected = if oracle.len() == before {
                        Change::Nothing
                    } else if oracle.iter().any(|(other, _)| *other == topic) {
                        Change::More
                    } else {
                        Change::Last
                    };
                    assert_eq!(topics.remove(&topic, subscriber), expected);
                }
                Step::Leave(subscriber) => {
                    let (mut left, stay) = oracle
                        .into_iter()
                        .partition::<Vec<_>, _>(|(_, by)| *by == subscriber);
                    left.sort_unstable();
                    oracle = stay;
                    let held = |topic: &Vec<u8>| oracle.iter().any(|(other, _)| other == topic);
                    let expected: Vec<_> = left
                        .into_iter()
                        .map(|(topic, _)| (topic.clone(), !held(&topic)))
                        .collect();
                    assert!(leave(&mut topics, subscriber) == expected);
                }
                Step::Match(message) => {
                    let message = stretch(message);
                    let mut expected: Vec<usize> = oracle
                        .iter()
                        .filter(|(topic, _)| message.starts_with(topic))
                        .map(|(_, subscriber)| *subscriber)
                        .collect();
                    expected.sort_unstable();
                    expected.dedup();
                    assert_eq!(found(&mut topics, &message), expected);
                }
            }
            check(&topics);
            for subscriber in 0..5 {
                let held = || oracle.iter().filter(|(_, by)| *by == subscriber);
                assert_eq!(topics.topics_of(subscriber), held().count());
                assert_eq!(
                    topics.bytes_of(subscriber),
                    held().map(|(topic, _)| topic.len()).sum::<usize>()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn topics_agree_with_a_list_of_them(steps in steps(7, 120)) {
            agrees_with_a_list(steps, 1);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn topics_longer_than_a_label_agree_with_a_list_of_them(steps in steps(6, 12)) {
            agrees_with_a_list(steps, 30_000);
        }
    }

    fn build(held: &[(&str, usize)]) -> Topics {
        let mut topics = Topics::default();
        for (topic, subscriber) in held {
            topics.add(topic.as_bytes(), *subscriber);
        }
        check(&topics);
        topics
    }

    fn found(topics: &mut Topics, message: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        topics.matches(message, |subscriber| found.push(subscriber));
        assert_eq!(topics.matches_any(message), !found.is_empty());
        found.sort_unstable();
        found
    }

    /// What a subscriber that leaves reports, sorted.
    fn leave(topics: &mut Topics, subscriber: usize) -> Vec<(Vec<u8>, bool)> {
        let mut gone = Vec::new();
        topics.remove_subscriber(subscriber, |topic, last| gone.push((topic.to_vec(), last)));
        gone.sort_unstable();
        gone
    }

    fn nodes(topics: &Topics) -> usize {
        topics.nodes.items.len() - topics.nodes.free.len()
    }

    /// What the topics occupy, with what is set aside for growth.
    fn memory_bytes(topics: &Topics) -> usize {
        topics.nodes.items.capacity() * size_of::<Node>()
            + topics.holdings.items.capacity() * size_of::<Holding>()
            + (topics.nodes.free.capacity() + topics.holdings.free.capacity()) * size_of::<u32>()
            + (topics.children.slots.capacity() + topics.held.slots.capacity()) * size_of::<u32>()
            + topics.subscribers.capacity() * size_of::<Subscriber>()
            + topics.labels.capacity()
            + topics.spelled.capacity()
    }

    /// Asserts what is promised of the fields.
    fn check(topics: &Topics) {
        let mut labels: Vec<Range<usize>> = Vec::new();
        let (mut held, mut children, mut empty) = (0, 0, 0);
        for index in 0..topics.nodes.items.len() as u32 {
            let node = &topics.nodes[index];
            held += usize::from(node.holders != NONE);
            children += usize::from(node.child_count);
            if node.label_len == 0 {
                empty += 1;
                continue;
            }
            let label = node.label();
            assert_eq!(topics.labels[label.start], node.first);
            assert_eq!(topics.find_child(node.parent, node.first), Some(index));
            let above = &topics.nodes[node.parent];
            let parting = node.parent == ROOT || above.holders != NONE || above.child_count > 1;
            assert!(
                parting || above.label().len() + label.len() > LABEL_BYTES_MAX,
                "an idle node above"
            );
            assert!(node.holders != NONE || node.child_count > 0, "an idle leaf");
            labels.push(label);
        }
        assert_eq!(empty, topics.nodes.free.len() + 1);
        assert_eq!((children + 1, topics.children.count), (nodes(topics), children));
        assert_eq!(held, topics.len());
        let holdings = topics.holdings.items.len() - topics.holdings.free.len();
        assert_eq!(topics.held.count, holdings);
        labels.sort_unstable_by_key(|label| label.start);
        assert!(labels.is_sorted_by(|a, b| a.end <= b.start), "labels overlap");
        assert_eq!(labels.iter().map(Range::len).sum::<usize>(), topics.labels_used);
    }
}
