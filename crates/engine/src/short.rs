//! A queue that mostly holds one thing or nothing.

use std::collections::VecDeque;

/// A queue whose first place is inside it: until a second thing waits, it needs no memory elsewhere. There are
/// two of these for each subscription, and nearly all are that short.
#[derive(Debug)]
pub(crate) struct Short<T> {
    first: Option<T>,
    /// What is behind it, as long as there is anything.
    #[expect(clippy::box_collection, reason = "hardly any of them has a rest, all would pay for its room")]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for Short<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
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
            Some(_) => self.rest.get_or_insert_default().push_back(item),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let item = self.first.take()?;
        self.advance();
        Some(item)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        if let Some(rest) = &mut self.rest {
            rest.retain(&mut keep);
        }
        if self.first.as_ref().is_some_and(|first| !keep(first)) {
            self.advance();
        }
    }

    /// Puts the first of the rest in its place, which is empty.
    fn advance(&mut self) {
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        if self.first.is_none() {
            self.rest = None;
        }
    }
}

impl<T> IntoIterator for Short<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::collections::vec_deque::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest.map(|rest| *rest).unwrap_or_default())
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
