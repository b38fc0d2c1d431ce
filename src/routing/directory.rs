//! Sending to a certain peer, by its name.

use std::collections::HashMap;

use crate::peer_id::PeerId;

/// The peers of a socket that addresses each one: their keys by their names.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    keys: HashMap<PeerId, usize>,
    /// Names by key, of those that have one.
    names: Vec<Option<PeerId>>,
    /// Keys of peers whose names lead to others who came later. Seldom any, and not for long.
    shadowed: Vec<usize>,
}

impl Directory {
    pub(crate) fn add(&mut self, key: usize, name: Option<PeerId>) {
        if self.names.len() <= key {
            self.names.resize(key + 1, None);
        }
        if let Some(name) = &name {
            // A newcomer may have the name before word comes that the old holder is gone; and if two I/O threads have
            // them, word of the two may come in either order.
            self.shadowed.extend(self.keys.insert(name.clone(), key));
        }
        self.names[key] = name;
    }

    pub(crate) fn remove(&mut self, key: usize) {
        let name = self.names.get_mut(key).and_then(Option::take);
        self.shadowed.retain(|&other| other != key);
        if let Some(name) = name {
            if self.keys.get(&name) == Some(&key) {
                self.keys.remove(&name);
                let is_namesake = |&other: &usize| self.names[other].as_ref() == Some(&name);
                if let Some(index) = self.shadowed.iter().rposition(is_namesake) {
                    self.keys.insert(name, self.shadowed.remove(index));
                }
            }
        }
    }

    #[inline]
    pub(crate) fn key(&self, name: &PeerId) -> Option<usize> {
        self.keys.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &PeerId> {
        self.keys.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_keeps_the_name_that_it_took_over() {
        let name = PeerId::new("a").unwrap();
        let mut directory = Directory::default();
        directory.add(0, Some(name.clone()));
        directory.add(3, Some(name.clone()));
        assert_eq!(directory.key(&name), Some(3));
        directory.remove(0);
        assert_eq!(directory.key(&name), Some(3));
        directory.remove(3);
        assert_eq!((directory.key(&name), directory.names().count()), (None, 0));
    }

    #[test]
    fn who_took_a_name_over_has_it_even_if_the_old_holder_is_heard_of_last() {
        let name = PeerId::new("a").unwrap();
        let mut directory = Directory::default();
        directory.add(0, Some(name.clone()));
        directory.add(1, Some(name.clone()));
        directory.remove(1);
        assert_eq!(directory.key(&name), Some(0));
        directory.remove(0);
        assert_eq!((directory.key(&name), directory.names().count()), (None, 0));
        assert!(directory.shadowed.is_empty());
    }
}
