//! A persistent ordered map: a B+tree whose nodes are shared between its clones.
//!
//! Cloning is one reference count. A change copies the nodes on its path that a clone still shares and
//! changes the others in place. Entries carry their own keys: a leaf holds nothing but the entries, and an
//! inner node holds separators that name a resource without keeping its contents alive. The separators of
//! a node are shared as one block, so that copying a node whose shape stays the same does not touch them.
//!
//! Keys are a rank and a name, compared in that order; entries whose rank says much keep it beside the
//! pointer, so that a search need not follow it. Searches that are not for a key take a predicate
//! that is true for a prefix of the entries and false for the rest.

use std::cmp::Ordering;
use std::sync::Arc;

use dovetail_model::{Topic, tree_order};

/// Entries of a leaf. A copy of a leaf counts one reference up for each entry, all over the memory, so
/// leaves are narrower than inner nodes.
const LEAF: usize = 32;
/// Children of an inner node.
const INNER: usize = 32;
/// A node smaller than this joins a neighbour if both fit in one.
const fn least(most: usize) -> usize {
    most / 3
}

/// What the map holds: something with a key, which never changes while it is in the map.
pub(crate) trait Entry: Clone {
    /// The first half of the key: what the map is sorted by before the name.
    fn rank(&self) -> u64;
    /// The name, which is the second half of the key.
    fn topic(&self) -> &Topic;
    /// Where among `entries`, which are sorted, the one with this key is.
    fn find(entries: &[Self], rank: u64, topic: &str) -> Option<usize> {
        place(entries, rank, topic).ok()
    }
}

/// The ordered map. At most one entry for each key.
pub(crate) struct Map<E> {
    root: Option<Arc<Node<E>>>,
    len: usize,
}

/// A place in a map, before one of its entries or at the end.
pub(crate) struct Cursor<'a, E> {
    root: Option<&'a Node<E>>,
    above: Vec<(&'a [Arc<Node<E>>], usize)>,
    leaf: &'a [E],
    at: usize,
}

#[derive(Clone)]
enum Node<E> {
    Leaf(Vec<E>),
    Inner(Inner<E>),
}

/// `separators[i]` is above everything in `children[i]` and not above anything in `children[i + 1]`.
#[derive(Clone)]
struct Inner<E> {
    separators: Arc<Vec<Separator>>,
    children: Vec<Arc<Node<E>>>,
}

#[derive(Clone)]
struct Separator {
    rank: u64,
    topic: Topic,
}

/// The right half of a node that was full.
struct Split<E> {
    separator: Separator,
    right: Arc<Node<E>>,
}

impl<E> Clone for Map<E> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<E> Default for Map<E> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<E: Entry> Map<E> {
    /// The map of `entries`, which are in the order of their keys, each key once.
    pub(crate) fn from_sorted(entries: impl IntoIterator<Item = E>) -> Self {
        let mut entries = entries.into_iter();
        let mut len = 0;
        let mut level = Vec::new();
        loop {
            let leaf: Vec<E> = entries.by_ref().take(LEAF).collect();
            let Some(first) = leaf.first() else { break };
            len += leaf.len();
            level.push(Split { separator: separator(first), right: Arc::new(Node::Leaf(leaf)) });
        }
        while level.len() > 1 {
            level = parents(level);
        }
        Self { root: level.pop().map(|split| split.right), len }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry with this key.
    pub(crate) fn get(&self, rank: u64, topic: &str) -> Option<&E> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(entries) => return E::find(entries, rank, topic).map(|at| &entries[at]),
                Node::Inner(inner) => node = &inner.children[inner.child_of(rank, topic)],
            }
        }
    }

    /// Puts `entry` in and returns the one that had its key.
    pub(crate) fn insert(&mut self, entry: E) -> Option<E> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![entry])));
            self.len = 1;
            return None;
        };
        let (replaced, split) = insert(root, entry);
        if let Some(Split { separator, right }) = split {
            let children = vec![root.clone(), right];
            *root = Arc::new(Node::Inner(Inner { separators: Arc::new(vec![separator]), children }));
        }
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes the entry with this key out. Looking for a key that is not there may copy shared nodes.
    pub(crate) fn remove(&mut self, rank: u64, topic: &str) -> Option<E> {
        let root = self.root.as_mut()?;
        let removed = remove(root, rank, topic);
        self.len -= usize::from(removed.is_some());
        let only = match &**root {
            Node::Inner(inner) if inner.children.len() == 1 => Some(Arc::clone(&inner.children[0])),
            _ => None,
        };
        if let Some(only) = only {
            *root = only;
        } else if root.len() == 0 {
            self.root = None;
        }
        removed
    }

    /// The place before the first entry.
    pub(crate) fn start(&self) -> Cursor<'_, E> {
        self.seek(|_, _| false)
    }

    /// The place before the first entry that `before` is false for; once false, it is false for the rest.
    pub(crate) fn seek(&self, before: impl Fn(u64, &str) -> bool) -> Cursor<'_, E> {
        let root = self.root.as_deref();
        let mut cursor = Cursor { root, above: Vec::new(), leaf: &[], at: 0 };
        cursor.restart(&before);
        cursor
    }
}

impl<'a, E: Entry> Cursor<'a, E> {
    /// The entry after this place.
    pub(crate) fn peek(&self) -> Option<&'a E> {
        self.leaf.get(self.at)
    }

    /// Steps over one entry.
    pub(crate) fn advance(&mut self) {
        self.at += 1;
        self.leave_exhausted_leaf();
    }

    /// Steps over every entry that `before` is true for, in time that does not depend on their number.
    pub(crate) fn seek(&mut self, before: impl Fn(u64, &str) -> bool) {
        match self.leaf.last() {
            None => {}
            Some(last) if before(last.rank(), last.topic().as_str()) => self.restart(&before),
            Some(_) => {
                let rest = &self.leaf[self.at..];
                self.at += rest.partition_point(|entry| before(entry.rank(), entry.topic().as_str()));
            }
        }
    }

    fn restart(&mut self, before: &impl Fn(u64, &str) -> bool) {
        self.above.clear();
        let Some(mut node) = self.root else { return };
        loop {
            match node {
                Node::Inner(inner) => {
                    let child = inner.separators.partition_point(|s| before(s.rank, s.topic.as_str()));
                    self.above.push((&inner.children, child));
                    node = &inner.children[child];
                }
                Node::Leaf(entries) => {
                    self.leaf = entries;
                    self.at = entries.partition_point(|entry| before(entry.rank(), entry.topic().as_str()));
                    break;
                }
            }
        }
        self.leave_exhausted_leaf();
    }

    fn leave_exhausted_leaf(&mut self) {
        if self.at < self.leaf.len() {
            return;
        }
        while let Some((children, at)) = self.above.pop() {
            let Some(mut node) = children.get(at + 1) else { continue };
            self.above.push((children, at + 1));
            loop {
                match &**node {
                    Node::Inner(inner) => {
                        self.above.push((&inner.children, 0));
                        node = &inner.children[0];
                    }
                    Node::Leaf(entries) => {
                        (self.leaf, self.at) = (entries, 0);
                        return;
                    }
                }
            }
        }
        (self.leaf, self.at) = (&[], 0);
    }
}

impl<'a, E: Entry> Iterator for Cursor<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        let entry = self.peek()?;
        self.advance();
        Some(entry)
    }
}

impl<E> Node<E> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    const fn most(&self) -> usize {
        match self {
            Self::Leaf(_) => LEAF,
            Self::Inner(_) => INNER,
        }
    }
}

impl<E: Clone> Inner<E> {
    fn child_of(&self, rank: u64, topic: &str) -> usize {
        self.separators.partition_point(|s| compare(s.rank, s.topic.as_str(), rank, topic).is_le())
    }

    /// Takes in the right half of the child at `at`; gives back its own right half if it was full.
    fn adopt(&mut self, at: usize, split: Split<E>) -> Option<Split<E>> {
        let separators = Arc::make_mut(&mut self.separators);
        separators.insert(at, split.separator);
        make_room(&mut self.children, INNER);
        self.children.insert(at + 1, split.right);
        if self.children.len() <= INNER {
            return None;
        }
        let cut = if at + 2 == self.children.len() { INNER } else { INNER / 2 };
        let right =
            Self { children: self.children.split_off(cut), separators: Arc::new(separators.split_off(cut)) };
        self.children.shrink_to_fit();
        let separator = separators.pop()?;
        Some(Split { separator, right: Arc::new(Node::Inner(right)) })
    }

    /// Joins the child at `at`, which became small, with a neighbour, or drops it if it became empty.
    fn tend(&mut self, at: usize) {
        let len = self.children[at].len();
        let most = self.children[at].most();
        let fits = |neighbour: Option<&Arc<Node<E>>>| neighbour.is_some_and(|n| n.len() + len <= most);
        if len == 0 {
            self.children.remove(at);
            let separators = Arc::make_mut(&mut self.separators);
            if !separators.is_empty() {
                separators.remove(at.saturating_sub(1));
            }
        } else if fits(self.children.get(at + 1)) {
            self.join(at);
        } else if at > 0 && fits(self.children.get(at - 1)) {
            self.join(at - 1);
        }
    }

    /// Moves everything of the child after `at` into the child at `at`.
    fn join(&mut self, at: usize) {
        let separator = Arc::make_mut(&mut self.separators).remove(at);
        let right = Arc::unwrap_or_clone(self.children.remove(at + 1));
        match (Arc::make_mut(&mut self.children[at]), right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                left.reserve_exact(right.len());
                left.extend(right);
            }
            (Node::Inner(left), Node::Inner(right)) => {
                let separators = Arc::make_mut(&mut left.separators);
                separators.push(separator);
                separators.extend(right.separators.iter().cloned());
                left.children.reserve_exact(right.children.len());
                left.children.extend(right.children);
            }
            _ => unreachable!("all leaves are equally deep"),
        }
    }
}

fn insert<E: Entry>(node: &mut Arc<Node<E>>, entry: E) -> (Option<E>, Option<Split<E>>) {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => match E::find(entries, entry.rank(), entry.topic().as_str()) {
            Some(at) => (Some(std::mem::replace(&mut entries[at], entry)), None),
            None => (None, insert_in_leaf(entries, entry)),
        },
        Node::Inner(inner) => {
            let at = inner.child_of(entry.rank(), entry.topic().as_str());
            let (replaced, split) = insert(&mut inner.children[at], entry);
            (replaced, split.and_then(|split| inner.adopt(at, split)))
        }
    }
}

/// Entries that arrive in order leave full leaves behind, others half-full ones.
fn insert_in_leaf<E: Entry>(entries: &mut Vec<E>, entry: E) -> Option<Split<E>> {
    let (Ok(at) | Err(at)) = place(entries, entry.rank(), entry.topic().as_str());
    if entries.len() < LEAF {
        make_room(entries, LEAF);
        entries.insert(at, entry);
        return None;
    }
    let mut right = if at == LEAF { Vec::with_capacity(4) } else { entries.split_off(LEAF / 2) };
    if at == LEAF {
        right.push(entry);
    } else if at > LEAF / 2 {
        right.insert(at - LEAF / 2, entry);
    } else {
        entries.insert(at, entry);
    }
    entries.shrink_to_fit();
    Some(Split { separator: separator(&right[0]), right: Arc::new(Node::Leaf(right)) })
}

fn remove<E: Entry>(node: &mut Arc<Node<E>>, rank: u64, topic: &str) -> Option<E> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let at = E::find(entries, rank, topic)?;
            let removed = entries.remove(at);
            if entries.capacity() > 2 * entries.len() {
                entries.shrink_to_fit();
            }
            Some(removed)
        }
        Node::Inner(inner) => {
            let at = inner.child_of(rank, topic);
            let removed = remove(&mut inner.children[at], rank, topic)?;
            if inner.children[at].len() < least(inner.children[at].most()) {
                inner.tend(at);
            }
            Some(removed)
        }
    }
}

/// One level up: inner nodes over `level`, each named by its first separator.
fn parents<E>(level: Vec<Split<E>>) -> Vec<Split<E>> {
    let mut above = Vec::with_capacity(level.len().div_ceil(INNER));
    let mut level = level.into_iter();
    while let Some(Split { separator, right }) = level.next() {
        let (separators, rest): (Vec<_>, Vec<_>) =
            level.by_ref().take(INNER - 1).map(|split| (split.separator, split.right)).unzip();
        let children = std::iter::once(right).chain(rest).collect();
        let inner = Inner { separators: Arc::new(separators), children };
        above.push(Split { separator, right: Arc::new(Node::Inner(inner)) });
    }
    above
}

/// Grows by a few places at a time: doubling would leave a third of every leaf unused.
fn make_room<T>(items: &mut Vec<T>, most: usize) {
    if items.len() == items.capacity() {
        items.reserve_exact((most / 8).max(1));
    }
}

fn separator<E: Entry>(entry: &E) -> Separator {
    Separator { rank: entry.rank(), topic: entry.topic().clone() }
}

/// Where the entry with this key is, or else where it would be.
fn place<E: Entry>(entries: &[E], rank: u64, topic: &str) -> Result<usize, usize> {
    entries.binary_search_by(|entry| compare(entry.rank(), entry.topic().as_str(), rank, topic))
}

fn compare(rank: u64, topic: &str, other_rank: u64, other_topic: &str) -> Ordering {
    rank.cmp(&other_rank).then_with(|| tree_order(topic, other_topic))
}
