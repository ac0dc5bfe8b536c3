//! Live resources that match a filter, found by skipping over what cannot match.

use std::collections::VecDeque;
use std::sync::Arc;

use dovetail_model::{Filter, Resource, Topic, tree_order};

use crate::index::{ByName, HasTopic, Named};
use crate::map::Cursor;

/// How many matches a scan reads ahead, so that not every one of them costs a search.
const AHEAD: usize = 64;

/// What a search from the root costs, in steps from one entry to the next.
const SEEK_STEPS: u64 = 8;

/// The matches of [`crate::Tree::select`], in tree order.
pub struct Select<'a>(Matches<'a, Resource>);

/// What matches of live resources, or of tombstones.
pub(crate) struct Matches<'a, T> {
    filter: &'a Filter,
    cursor: Cursor<'a, Named<T>>,
    done: bool,
    /// How many steps it took to find what was found.
    steps: u64,
}

/// What the comparison of one name with the filter says about where the next match can be.
enum Verdict<'t> {
    Match,
    /// Right after this name.
    Next,
    /// Not before this name, which is made of the first part of the candidate and the level.
    At(&'t str, &'t str),
    /// Not in this subtree.
    Past(&'t str),
    /// Nowhere.
    Never,
}

impl<'a> Select<'a> {
    pub(crate) fn new(names: &'a ByName<Resource>, filter: &'a Filter) -> Self {
        Self(Matches::new(names, filter))
    }

    /// The rest of the matches, after `topic`.
    #[must_use]
    pub fn after(mut self, topic: &Topic) -> Self {
        self.0.cursor.seek(|_, name| tree_order(name, topic.as_str()).is_le());
        self
    }
}

impl<'a> Iterator for Select<'a> {
    type Item = &'a Arc<Resource>;

    fn next(&mut self) -> Option<&'a Arc<Resource>> {
        self.0.next_within(u64::MAX)
    }
}

impl<'a, T: HasTopic> Matches<'a, T> {
    pub(crate) fn new(names: &'a ByName<T>, filter: &'a Filter) -> Self {
        let literal = literal_prefix(filter.as_str());
        let cursor = names.seek(|_, name| tree_order(name, literal).is_lt());
        Self { filter, cursor, done: false, steps: SEEK_STEPS }
    }

    /// How many steps it took to find what was found.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The next match; `None` also when it took `most` steps or more in all.
    pub(crate) fn next_within(&mut self, most: u64) -> Option<&'a Arc<T>> {
        while !self.done && self.steps < most {
            let candidate = &self.cursor.peek()?.what;
            self.steps += 1;
            match judge(self.filter.as_str(), candidate.topic().as_str()) {
                Verdict::Match => {
                    self.cursor.advance();
                    return Some(candidate);
                }
                Verdict::Next => self.cursor.advance(),
                Verdict::At(parent, level) => {
                    self.steps += SEEK_STEPS;
                    self.cursor.seek(|_, name| is_before_child(name, parent, level));
                }
                Verdict::Past(root) => {
                    self.steps += SEEK_STEPS;
                    self.cursor.seek(|_, name| tree_order(name, root).is_le() || is_in_subtree(name, root));
                }
                Verdict::Never => self.done = true,
            }
        }
        None
    }
}

/// The matches of [`crate::Tree::scan`]: owns a frozen tree, so that it can be kept between turns.
pub struct Scan {
    names: ByName<Resource>,
    filter: Filter,
    last: Option<Topic>,
    ahead: VecDeque<Arc<Resource>>,
}

impl Scan {
    pub(crate) fn new(names: ByName<Resource>, filter: Filter) -> Self {
        Self { names, filter, last: None, ahead: VecDeque::new() }
    }

    /// The rest of the matches, after `topic`.
    #[must_use]
    pub fn after(mut self, topic: Topic) -> Self {
        self.last = Some(topic);
        self.ahead.clear();
        self
    }

    fn read_ahead(&mut self) {
        let select = Select::new(&self.names, &self.filter);
        let select = match &self.last {
            None => select,
            Some(last) => select.after(last),
        };
        self.ahead.extend(select.take(AHEAD).cloned());
        if let Some(last) = self.ahead.back() {
            self.last = Some(last.topic.clone());
        }
    }
}

impl Iterator for Scan {
    type Item = Arc<Resource>;

    fn next(&mut self) -> Option<Arc<Resource>> {
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        self.ahead.pop_front()
    }
}

/// Whether `name` is `root` or below it.
pub(crate) fn is_in_subtree(name: &str, root: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The levels of `filter` before its first wildcard, joined: no match is before this name.
fn literal_prefix(filter: &str) -> &str {
    let wildcard = filter.find(['+', '#']).unwrap_or(filter.len());
    filter[..wildcard].strip_suffix('/').unwrap_or(&filter[..wildcard])
}

/// Whether `name` sorts before `parent/level`.
fn is_before_child(name: &str, parent: &str, level: &str) -> bool {
    match name.strip_prefix(parent) {
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => tree_order(rest, level).is_lt(),
            None => rest.is_empty(),
        },
        None => tree_order(name, parent).is_lt(),
    }
}

/// Compares one name with the filter, level by level, and says where to look next.
fn judge<'t>(filter: &'t str, name: &'t str) -> Verdict<'t> {
    // The end of the part of the name that the last `+` took: all that can still vary.
    let mut varying: Option<usize> = None;
    let past = |varying: Option<usize>| varying.map_or(Verdict::Never, |end| Verdict::Past(&name[..end]));
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        // Reserved names are one range of the order, but not one subtree: step over one root at a time.
        return Verdict::Past(&name[..name.find('/').unwrap_or(name.len())]);
    }
    let mut start = Some(0);
    for level in filter.split('/') {
        if level == "#" {
            return Verdict::Match;
        }
        let Some(from) = start else {
            // The name ends before the filter does: matches can only be below it.
            return if level == "+" { Verdict::Next } else { Verdict::At(name, level) };
        };
        let end = name[from..].find('/').map_or(name.len(), |slash| from + slash);
        if level == "+" {
            varying = Some(end);
        } else {
            match name[from..end].cmp(level) {
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Less if from > 0 => return Verdict::At(&name[..from - 1], level),
                std::cmp::Ordering::Less => return Verdict::Next,
                std::cmp::Ordering::Greater => return past(varying),
            }
        }
        start = (end < name.len()).then_some(end + 1);
    }
    if start.is_some() { past(varying) } else { Verdict::Match }
}
