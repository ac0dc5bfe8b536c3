//! The keys of one filter: a set that is walked often, in any order.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Up to this many keys a search is a walk; more have an index of their places.
const UNINDEXED: usize = 32;

/// A set that takes no allocation for one key.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "every node has a set, and a bare `Vec` makes it half as large again"
)]
pub(crate) enum Keys<K> {
    None,
    One(K),
    Some(Box<Vec<K>>),
    Many(Box<Indexed<K>>),
}

/// Keys side by side, and where each of them is.
#[derive(Debug)]
pub(crate) struct Indexed<K> {
    keys: Vec<K>,
    places: HashMap<K, u32, RandomState>,
}

impl<K: Copy + Eq + Hash> Keys<K> {
    pub(crate) fn as_slice(&self) -> &[K] {
        match self {
            Self::None => &[],
            Self::One(key) => std::slice::from_ref(key),
            Self::Some(keys) => keys,
            Self::Many(indexed) => &indexed.keys,
        }
    }

    /// Puts `key` in; false if it was there.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        match self {
            Self::None => *self = Self::One(key),
            Self::One(only) if *only == key => return false,
            Self::One(only) => *self = Self::Some(Box::new(vec![*only, key])),
            Self::Some(keys) if keys.contains(&key) => return false,
            Self::Some(keys) => {
                keys.push(key);
                if keys.len() > UNINDEXED {
                    *self = Self::Many(Box::new(Indexed::new(std::mem::take(keys))));
                }
            }
            Self::Many(indexed) => return indexed.insert(key),
        }
        true
    }

    /// Takes `key` out; false if it was not there.
    pub(crate) fn remove(&mut self, key: K) -> bool {
        match self {
            Self::One(only) if *only == key => *self = Self::None,
            Self::None | Self::One(_) => return false,
            Self::Some(keys) => {
                let Some(at) = keys.iter().position(|k| *k == key) else { return false };
                keys.swap_remove(at);
                if let [only] = keys[..] {
                    *self = Self::One(only);
                }
            }
            Self::Many(indexed) => {
                if !indexed.remove(key) {
                    return false;
                }
                if indexed.keys.len() <= UNINDEXED / 2 {
                    *self = Self::Some(Box::new(indexed.keys.as_slice().to_vec()));
                }
            }
        }
        true
    }
}

impl<K: Copy + Eq + Hash> Indexed<K> {
    fn new(keys: Vec<K>) -> Self {
        let places = keys.iter().zip(0..).map(|(key, at)| (*key, at)).collect();
        Self { keys, places }
    }

    fn insert(&mut self, key: K) -> bool {
        if self.places.contains_key(&key) {
            return false;
        }
        self.places.insert(key, self.keys.len() as u32);
        self.keys.push(key);
        true
    }

    fn remove(&mut self, key: K) -> bool {
        let Some(at) = self.places.remove(&key) else { return false };
        self.keys.swap_remove(at as usize);
        if let Some(moved) = self.keys.get(at as usize) {
            self.places.insert(*moved, at);
        }
        if self.keys.capacity() > 4 * self.keys.len() {
            self.keys.shrink_to(2 * self.keys.len());
            self.places.shrink_to(2 * self.keys.len());
        }
        true
    }
}
