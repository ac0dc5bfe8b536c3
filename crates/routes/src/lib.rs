//! The live direction: which of many filters match a topic that changed.
//!
//! [`Routes`] is a trie over the levels of the filters. Levels are small numbers, and a match looks up each level of
//! the topic once and then follows numbers; it allocates nothing, and its cost follows the matching filters, not those
//! that are there. With many filters that cost is waiting for memory, so an edge lies where a match comes by anyway: in
//! its node if it is the first one there, else with the name of its level if it is the first one there, and only else in
//! a table of all. Pure and single-threaded:
//! each shard owns the routes of its connections.

mod keys;
mod names;

use std::collections::HashMap;
use std::hash::Hash;

use dovetail_model::limits::TOPIC_LEVELS;
use dovetail_model::{Filter, Topic};
use foldhash::fast::RandomState;

use keys::Keys;
use names::{Level, Name, Names};

/// Levels that a match keeps in a small buffer; deeper topics take one for [`TOPIC_LEVELS`].
const SHALLOW_LEVELS: usize = 16;

/// Pairs of a filter and a key. A key is a small id of who wants to know.
#[derive(Debug)]
pub struct Routes<K> {
    names: Names,
    /// Literal edges that are neither in their node nor with their name. Those for `+` and `#` are in the nodes.
    edges: HashMap<Edge, NodeId, RandomState>,
    nodes: Vec<Node<K>>,
    unused: Vec<NodeId>,
    len: usize,
}

type NodeId = u32;

const ROOT: NodeId = 0;
/// As the target of an edge: there is none. The root is nobody's child.
const NOWHERE: NodeId = ROOT;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Edge {
    from: NodeId,
    level: Name,
}

#[derive(Debug)]
struct Node<K> {
    /// The keys of the filter that ends here.
    keys: Keys<K>,
    /// The child for `+`.
    any: NodeId,
    /// The child for `#`, which has no children.
    rest: NodeId,
    /// One literal edge: its level, and the child.
    first: (Name, NodeId),
    /// How many children there are, `+` and `#` included.
    children: u32,
    /// How many of them are in the table of edges.
    in_table: u32,
}

impl<K> Node<K> {
    const EMPTY: Self = Self {
        keys: Keys::None,
        any: NOWHERE,
        rest: NOWHERE,
        first: (Name::NONE, NOWHERE),
        children: 0,
        in_table: 0,
    };
}

impl<K: Copy + Eq + Hash> Default for Routes<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Eq + Hash> Routes<K> {
    /// No routes.
    pub fn new() -> Self {
        Self {
            names: Names::default(),
            edges: HashMap::default(),
            nodes: vec![Node::EMPTY],
            unused: Vec::new(),
            len: 0,
        }
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a pair; false if it was there.
    pub fn insert(&mut self, filter: &Filter, key: K) -> bool {
        let mut node = ROOT;
        for level in filter.levels() {
            node = match self.child(node, level) {
                NOWHERE => self.add_child(node, level),
                child => child,
            };
        }
        let added = self.nodes[node as usize].keys.insert(key);
        self.len += usize::from(added);
        added
    }

    /// Removes a pair and what only it needed; false if it was not there.
    pub fn remove(&mut self, filter: &Filter, key: &K) -> bool {
        let mut path = Vec::with_capacity(SHALLOW_LEVELS);
        let mut node = ROOT;
        for level in filter.levels() {
            path.push((node, level));
            node = self.child(node, level);
            if node == NOWHERE {
                return false;
            }
        }
        if !self.nodes[node as usize].keys.remove(*key) {
            return false;
        }
        self.len -= 1;
        while let Some((parent, level)) = path.pop() {
            let left = &self.nodes[node as usize];
            if left.children > 0 || !left.keys.as_slice().is_empty() {
                break;
            }
            self.remove_child(parent, level, node);
            node = parent;
        }
        self.shrink();
        true
    }

    /// Calls `each` with the key of every pair whose filter matches `topic`, once for each such pair.
    ///
    /// A wildcard in the first level never matches a reserved topic ([MQTT-4.7.2-1]).
    pub fn matching(&self, topic: &Topic, mut each: impl FnMut(&K)) {
        let depth = topic.levels().count();
        if depth <= SHALLOW_LEVELS {
            self.walk(topic, &mut [Level::UNKNOWN; SHALLOW_LEVELS][..depth], &mut each);
        } else {
            self.walk(topic, &mut [Level::UNKNOWN; TOPIC_LEVELS][..depth], &mut each);
        }
    }

    fn walk(&self, topic: &Topic, levels: &mut [Level], each: &mut impl FnMut(&K)) {
        for (level, text) in levels.iter_mut().zip(topic.levels()) {
            *level = self.names.find(text);
        }
        if !topic.is_reserved() {
            self.descend(ROOT, levels, each);
        } else if let Some(child) = self.literal(ROOT, levels[0]) {
            self.descend(child, &levels[1..], each);
        }
    }

    /// Visits what matches `levels`, those of the topic from this node on.
    fn descend(&self, from: NodeId, levels: &[Level], each: &mut impl FnMut(&K)) {
        let node = &self.nodes[from as usize];
        if node.rest != NOWHERE {
            self.nodes[node.rest as usize].keys.as_slice().iter().for_each(&mut *each);
        }
        let Some((&level, below)) = levels.split_first() else {
            node.keys.as_slice().iter().for_each(each);
            return;
        };
        if node.any != NOWHERE {
            self.descend(node.any, below, each);
        }
        if let Some(child) = self.literal(from, level) {
            self.descend(child, below, each);
        }
    }

    fn literal(&self, from: NodeId, level: Level) -> Option<NodeId> {
        let node = &self.nodes[from as usize];
        if level.name == Name::NONE {
            None
        } else if node.first.0 == level.name {
            Some(node.first.1)
        } else if level.from == from && level.to != NOWHERE {
            Some(level.to)
        } else if node.in_table > 0 {
            self.edges.get(&Edge { from, level: level.name }).copied()
        } else {
            None
        }
    }

    fn child(&self, from: NodeId, level: &str) -> NodeId {
        match level {
            "+" => self.nodes[from as usize].any,
            "#" => self.nodes[from as usize].rest,
            _ => self.literal(from, self.names.find(level)).unwrap_or(NOWHERE),
        }
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let child = self.unused.pop().unwrap_or_else(|| {
            self.nodes.push(Node::EMPTY);
            (self.nodes.len() - 1) as NodeId
        });
        let node = &mut self.nodes[parent as usize];
        node.children += 1;
        match level {
            "+" => node.any = child,
            "#" => node.rest = child,
            _ => {
                let name = self.names.acquire(level);
                if node.first.1 == NOWHERE {
                    node.first = (name, child);
                } else if !self.names.keep_edge(level, parent, child) {
                    node.in_table += 1;
                    self.edges.insert(Edge { from: parent, level: name }, child);
                }
            }
        }
        child
    }

    fn remove_child(&mut self, parent: NodeId, level: &str, child: NodeId) {
        let node = &mut self.nodes[parent as usize];
        node.children -= 1;
        match level {
            "+" => node.any = NOWHERE,
            "#" => node.rest = NOWHERE,
            _ => {
                if node.first.1 == child {
                    node.first = (Name::NONE, NOWHERE);
                } else if !self.names.drop_edge(level, child) {
                    node.in_table -= 1;
                    self.edges.remove(&Edge { from: parent, level: self.names.find(level).name });
                }
                self.names.release(level);
            }
        }
        self.nodes[child as usize] = Node::EMPTY;
        self.unused.push(child);
    }

    /// Gives memory back. Nodes are numbered, so those in the middle stay for new filters until the last
    /// ones are unused too.
    fn shrink(&mut self) {
        if self.edges.capacity() > 4 * self.edges.len().max(16) {
            self.edges.shrink_to(2 * self.edges.len());
        }
        if self.is_empty() {
            self.nodes = vec![Node::EMPTY];
            self.unused = Vec::new();
        }
    }
}
