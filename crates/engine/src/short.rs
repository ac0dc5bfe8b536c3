//! A queue that mostly holds one thing or nothing.

use std::collections::VecDeque;

/// How many places are kept in memory once the queue is empty.
const KEEP: usize = 16;

/// A queue whose first place is inside it: until a second thing waits, it needs no memory elsewhere. There are
/// two of these for each subscription, and nearly all are that short.
#[derive(Debug)]
pub(crate) struct Short<T> {
    first: Option<T>,
    /// Empty unless there is a first.
    rest: VecDeque<T>,
}

impl<T> Default for Short<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> Short<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn push_back(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push_back(item),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let item = self.first.take()?;
        self.first = self.rest.pop_front();
        if self.rest.is_empty() && self.rest.capacity() > KEEP {
            self.rest = VecDeque::new();
        }
        Some(item)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.rest.retain(&mut keep);
        if self.first.as_ref().is_some_and(|first| !keep(first)) {
            self.first = self.rest.pop_front();
        }
    }
}

impl<T> IntoIterator for Short<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::collections::vec_deque::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_does_what_a_long_one_does(steps in prop::collection::vec((0_u8..8, any::<u8>()), 0..200)) {
            let (mut short, mut long) = (Short::default(), VecDeque::new());
            for (step, value) in steps {
                match step {
                    0..=3 => {
                        short.push_back(value);
                        long.push_back(value);
                    }
                    4..=6 => prop_assert_eq!(short.pop_front(), long.pop_front()),
                    _ => {
                        short.retain(|item| item % 3 != value % 3);
                        long.retain(|item| item % 3 != value % 3);
                    }
                }
                prop_assert_eq!(short.front(), long.front());
                prop_assert_eq!(short.is_empty(), long.is_empty());
            }
            prop_assert_eq!(short.into_iter().collect::<Vec<_>>(), long.into_iter().collect::<Vec<_>>());
        }
    }
}
