//! Which peer has which name.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::peer_id::PeerId;

/// The names of a ROUTER's peers. `H` says where the holder of a name is found.
#[derive(Debug)]
pub(crate) struct Identities<H> {
    holders: HashMap<PeerId, H>,
    /// Number of the next name to be made up.
    next: u32,
}

impl<H> Default for Identities<H> {
    fn default() -> Identities<H> {
        Identities {
            holders: HashMap::new(),
            // A random start: a peer of the last run, which remembers the id it was known by, meets no namesake.
            next: RandomState::new().hash_one(()) as u32,
        }
    }
}

impl<H> Identities<H> {
    /// Gives the name to a holder, or a name that is made up. If it is taken, tells by whom, and changes nothing.
    pub(crate) fn claim(&mut self, name: Option<PeerId>, holder: H) -> Result<PeerId, &mut H> {
        let name = match name {
            Some(name) => name,
            None => self.make_up(),
        };
        if self.holders.contains_key(&name) {
            return Err(self.holders.get_mut(&name).expect("it was just found"));
        }
        self.holders.insert(name.clone(), holder);
        Ok(name)
    }

    fn make_up(&mut self) -> PeerId {
        loop {
            let name = PeerId::generated(self.next);
            self.next = self.next.wrapping_add(1);
            if !self.holders.contains_key(&name) {
                return name;
            }
        }
    }

    /// Takes the name from its holder, if `is_holder` says that it is the right one.
    pub(crate) fn release(&mut self, name: &PeerId, is_holder: impl FnOnce(&H) -> bool) {
        if self.holders.get(name).is_some_and(is_holder) {
            self.holders.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_holder() {
        let mut identities = Identities::default();
        let name = PeerId::new("a").unwrap();
        assert_eq!(identities.claim(Some(name.clone()), 1), Ok(name.clone()));
        assert_eq!(identities.claim(Some(name.clone()), 2), Err(&mut 1));
        identities.release(&name, |&holder| holder == 2);
        assert_eq!(identities.claim(Some(name.clone()), 2), Err(&mut 1));
        identities.release(&name, |&holder| holder == 1);
        assert_eq!(identities.claim(Some(name.clone()), 2), Ok(name));
    }

    #[test]
    fn names_that_are_made_up_differ_and_wrap() {
        let mut identities = Identities {
            next: u32::MAX,
            ..Identities::default()
        };
        let names: Vec<PeerId> = (0..3)
            .map(|holder| identities.claim(None, holder).unwrap())
            .collect();
        assert_eq!(names[0], PeerId::generated(u32::MAX));
        assert_eq!(names[1], PeerId::generated(0));
        assert!(names.iter().all(PeerId::is_generated));
        identities.next = u32::MAX;
        assert_eq!(identities.claim(None, 9), Ok(PeerId::generated(2)));
    }
}
