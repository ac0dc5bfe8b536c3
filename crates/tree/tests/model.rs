//! The tree against a naive model: whatever happens to both, both answer the same, and frozen clones never
//! change.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

use std::collections::BTreeMap;
use std::sync::Arc;

use dovetail_model::{
    Change, Commit, DeleteCause, Event, Filter, Qos, Representation, Resource, Tombstone, Topic, UnixMillis,
};
use dovetail_tree::{BuildError, Builder, Latest, Tree};
use proptest::prelude::*;

/// Everything as flat lists, every question answered by looking at all of it.
#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    revision: u64,
    floor: u64,
    newest: BTreeMap<Topic, Latest>,
}

impl Model {
    fn apply(&mut self, commit: &Commit) {
        self.revision = commit.number;
        for change in &commit.changes {
            let latest = match change {
                Change::Put(resource) => Latest::Live(Arc::clone(resource)),
                Change::Delete(tombstone) => Latest::Gone(Arc::clone(tombstone)),
                Change::Event(_) => continue,
            };
            self.newest.insert(change.topic().clone(), latest);
        }
    }

    fn live(&self) -> Vec<&Arc<Resource>> {
        self.newest.values().filter_map(|l| if let Latest::Live(r) = l { Some(r) } else { None }).collect()
    }

    fn gone(&self) -> Vec<&Arc<Tombstone>> {
        self.newest.values().filter_map(|l| if let Latest::Gone(t) = l { Some(t) } else { None }).collect()
    }

    fn changed_after(&self, revision: u64) -> Vec<Latest> {
        let mut changed: Vec<_> = self.newest.values().filter(|l| l.revision() > revision).cloned().collect();
        changed.sort_by_key(|latest| (latest.revision(), latest.topic().clone()));
        changed
    }

    fn forget_before(&mut self, deleted_before: UnixMillis, max: usize) -> usize {
        let mut old: Vec<_> =
            self.gone().into_iter().filter(|t| t.deleted_at < deleted_before).cloned().collect();
        old.sort_by_key(|tombstone| (tombstone.revision, tombstone.topic.clone()));
        old.truncate(max);
        for tombstone in &old {
            self.newest.remove(&tombstone.topic);
            self.floor = self.floor.max(tombstone.revision);
        }
        old.len()
    }

    fn expired(&self, now: UnixMillis, max: usize) -> Vec<Topic> {
        let mut ended: Vec<_> = self.live().into_iter().filter(|r| r.expires_at <= Some(now)).collect();
        ended.retain(|resource| resource.expires_at.is_some());
        ended.sort_by_key(|resource| (resource.expires_at, resource.topic.clone()));
        ended.into_iter().take(max).map(|resource| resource.topic.clone()).collect()
    }
}

/// Asks every question of both.
fn check(tree: &Tree, model: &Model) {
    assert_eq!(tree.revision(), model.revision);
    assert_eq!(tree.floor(), model.floor);
    assert_eq!(tree.len(), model.live().len());
    assert_eq!(tree.is_empty(), model.live().is_empty());
    assert_eq!(tree.tombstones_len(), model.gone().len());
    let weight: usize = model.live().iter().map(|r| r.representation.payload.len()).sum();
    assert_eq!(tree.weight(), weight as u64);
    assert_eq!(tree.resources().collect::<Vec<_>>(), model.live());
    assert_eq!(tree.tombstones().collect::<Vec<_>>(), model.gone());
    for after in [0, model.revision / 2, model.revision.saturating_sub(1), model.revision, model.revision + 1]
    {
        let expected = model.changed_after(after);
        assert_eq!(tree.changed_after(after).collect::<Vec<_>>(), expected);
        assert_eq!(tree.changes_after(after).collect::<Vec<_>>(), expected);
    }
    let expiries: Vec<_> = model.live().iter().filter_map(|r| r.expires_at).collect();
    assert_eq!(tree.next_expiry(), expiries.iter().min().copied());
    for now in expiries.into_iter().take(3) {
        assert_eq!(tree.expired(now, 5), model.expired(now, 5));
    }
}

fn check_names(tree: &Tree, model: &Model, topics: &[Topic]) {
    for topic in topics {
        let newest = model.newest.get(topic).cloned();
        let found = tree.get(topic).cloned().map(Latest::Live);
        assert_eq!(found.or(tree.tombstone(topic).cloned().map(Latest::Gone)), newest);
        let prefix = format!("{topic}/");
        let below = model.live().iter().any(|r| r.topic.as_str().starts_with(&prefix));
        assert_eq!(tree.has_below(topic), below, "below {topic}");
    }
}

fn check_filter(tree: &Tree, model: &Model, filter: &Filter, after: &Topic) {
    let mut expected: Vec<_> = model.live();
    expected.retain(|resource| filter.matches(&resource.topic));
    assert_eq!(tree.select(filter).collect::<Vec<_>>(), expected, "{filter}");
    assert_eq!(
        tree.scan(filter.clone()).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
        expected,
        "{filter}"
    );
    expected.retain(|resource| resource.topic > *after);
    assert_eq!(tree.select_after(filter, after).collect::<Vec<_>>(), expected, "{filter} after {after}");
    let rest: Vec<_> = tree.scan(filter.clone()).after(after.clone()).collect();
    assert_eq!(rest.iter().collect::<Vec<_>>(), expected, "{filter} after {after}");
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(usize, Option<u8>)>),
    Event(usize),
    Freeze,
    Forget { age: u64, max: usize },
}

fn put(topic: &Topic, commit: u64, seed: u8) -> Change {
    Change::Put(Arc::new(Resource {
        topic: topic.clone(),
        revision: commit,
        modified_at: commit * 10,
        expires_at: seed.is_multiple_of(3).then_some(u64::from(seed)),
        representation: Representation::copied(&vec![seed; usize::from(seed % 7) + 1], None),
    }))
}

fn delete(topic: &Topic, commit: u64) -> Change {
    let topic = topic.clone();
    Change::Delete(Arc::new(Tombstone {
        topic,
        revision: commit,
        deleted_at: commit * 10,
        cause: DeleteCause::Request,
        qos: Qos::default(),
    }))
}

fn event(topic: &Topic) -> Change {
    let representation = Representation::default();
    Change::Event(Arc::new(Event { topic: topic.clone(), published_at: 0, expires_at: None, representation }))
}

/// The commit that a step stands for, with every name in it once.
fn commit(number: u64, topics: &[Topic], changes: &[(usize, Option<u8>)]) -> Commit {
    let by_name: BTreeMap<&Topic, Option<u8>> =
        changes.iter().map(|(at, seed)| (&topics[at % topics.len()], *seed)).collect();
    let change = |(topic, seed): (&Topic, Option<u8>)| match seed {
        Some(seed) => put(topic, number, seed),
        None => delete(topic, number),
    };
    Commit { number, at: number * 10, publisher: None, changes: by_name.into_iter().map(change).collect() }
}

fn topic() -> impl Strategy<Value = Topic> {
    let level = prop::sample::select(vec!["", "a", "b", "ab", "a!", "$x", "0", "\u{1}", "ä"]);
    prop::collection::vec(level, 1..5).prop_filter_map("a topic", |levels| Topic::new(&levels.join("/")).ok())
}

fn filter() -> impl Strategy<Value = Filter> {
    let level = prop::sample::select(vec!["", "a", "b", "ab", "$x", "+", "+", "+", "0"]);
    (prop::collection::vec(level, 1..5), any::<bool>()).prop_filter_map(
        "a filter",
        |(mut levels, any_below)| {
            if any_below {
                levels.push("#");
            }
            Filter::new(&levels.join("/")).ok().or_else(|| Some(Filter::everything()))
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec((any::<usize>(), prop::option::weighted(0.6, any::<u8>())), 1..12)
            .prop_map(Step::Commit),
        1 => any::<usize>().prop_map(Step::Event),
        3 => Just(Step::Freeze),
        1 => (0u64..300, 0usize..20).prop_map(|(age, max)| Step::Forget { age, max }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn answers_as_the_model_does(
        topics in prop::collection::vec(topic(), 1..400),
        steps in prop::collection::vec(step(), 1..120),
        filters in prop::collection::vec((filter(), topic()), 1..12),
    ) {
        let (mut tree, mut model) = (Tree::new(), Model::default());
        let mut frozen = Vec::new();
        for step in &steps {
            match step {
                Step::Commit(changes) => {
                    let commit = commit(model.revision + 1, &topics, changes);
                    tree.apply(&commit);
                    model.apply(&commit);
                }
                Step::Event(at) => {
                    let changes = [event(&topics[at % topics.len()])].into();
                    let commit = Commit { number: model.revision + 1, at: 0, publisher: None, changes };
                    tree.apply(&commit);
                    model.apply(&commit);
                }
                Step::Freeze => frozen.push((tree.clone(), model.clone())),
                Step::Forget { age, max } => {
                    let before = (model.revision * 10).saturating_sub(*age);
                    prop_assert_eq!(tree.forget_before(before, *max), model.forget_before(before, *max));
                }
            }
        }
        frozen.push((tree, model));
        for (tree, model) in &frozen {
            check(tree, model);
        }
        let (tree, model) = frozen.last().unwrap();
        check_names(tree, model, &topics);
        for (filter, after) in &filters {
            check_filter(tree, model, filter, after);
        }
        check(&rebuilt(tree).unwrap(), model);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Enough names for a tree of several levels of nodes, put and deleted in any order.
    #[test]
    fn stays_sorted_while_it_grows_and_shrinks(
        seeds in prop::collection::vec(any::<u16>(), 3_000),
        keep in 0u16..400,
    ) {
        let (mut tree, mut model) = (Tree::new(), Model::default());
        let topics: Vec<Topic> =
            seeds.iter().map(|seed| Topic::new(&format!("{}/{seed}", seed % 7)).unwrap()).collect();
        for (at, seed) in seeds.iter().enumerate() {
            let commit = commit(model.revision + 1, &topics, &[(at, Some(*seed as u8))]);
            tree.apply(&commit);
            model.apply(&commit);
        }
        check(&tree, &model);
        let grown = (tree.clone(), model.clone());
        for (at, seed) in seeds.iter().enumerate() {
            if seed % 400 >= keep {
                let commit = commit(model.revision + 1, &topics, &[(at, None)]);
                tree.apply(&commit);
                model.apply(&commit);
            }
        }
        check(&tree, &model);
        tree.forget_before(UnixMillis::MAX, usize::MAX);
        model.forget_before(UnixMillis::MAX, usize::MAX);
        check(&tree, &model);
        check(&grown.0, &grown.1);
        check_filter(&tree, &model, &Filter::new("+/+").unwrap(), &topics[0]);
        check_filter(&tree, &model, &Filter::new("3/#").unwrap(), &topics[1]);
    }
}

fn rebuilt(tree: &Tree) -> Result<Tree, BuildError> {
    let mut builder = Builder::new(tree.revision(), tree.floor())?;
    for resource in tree.resources() {
        builder.resource(Arc::clone(resource))?;
    }
    for tombstone in tree.tombstones() {
        builder.tombstone(Arc::clone(tombstone))?;
    }
    builder.build()
}

fn resource(name: &str, revision: u64) -> Arc<Resource> {
    match put(&Topic::new(name).unwrap(), revision, 1) {
        Change::Put(resource) => resource,
        Change::Delete(_) | Change::Event(_) => unreachable!(),
    }
}

fn tombstone(name: &str, revision: u64) -> Arc<Tombstone> {
    match delete(&Topic::new(name).unwrap(), revision) {
        Change::Delete(tombstone) => tombstone,
        Change::Put(_) | Change::Event(_) => unreachable!(),
    }
}

#[test]
fn refuses_snapshots_that_make_no_tree() {
    let topic = |name: &str| Topic::new(name).unwrap();
    assert_eq!(Builder::new(1, 2).map(drop), Err(BuildError::Floor { floor: 2, revision: 1 }));
    let mut builder = Builder::new(5, 0).unwrap();
    builder.resource(resource("a!", 5)).unwrap();
    assert_eq!(builder.resource(resource("a!", 4)), Err(BuildError::Order(topic("a!"))));
    assert_eq!(builder.resource(resource("a/b", 4)), Err(BuildError::Order(topic("a/b"))));
    for revision in [0, 6] {
        let refused = Err(BuildError::Revision { topic: topic("z"), revision });
        assert_eq!(builder.resource(resource("z", revision)), refused);
        assert_eq!(builder.tombstone(tombstone("z", revision)), refused);
    }
    let mut empty = Resource::clone(&resource("z", 1));
    empty.representation = Representation::default();
    assert_eq!(builder.resource(Arc::new(empty)), Err(BuildError::Empty(topic("z"))));
    builder.tombstone(tombstone("a!", 3)).unwrap();
    assert_eq!(builder.tombstone(tombstone("a", 3)), Err(BuildError::Order(topic("a"))));
    assert_eq!(builder.build().map(drop), Err(BuildError::LiveAndDeleted(topic("a!"))));
}

#[test]
#[should_panic(expected = "commits are applied one after the other")]
fn refuses_a_hole_in_the_commits() {
    Tree::new().apply(&Commit { number: 2, at: 0, publisher: None, changes: Box::new([]) });
}

#[test]
fn a_frozen_tree_can_go_to_another_thread() {
    let mut tree = Tree::new();
    tree.apply(&commit(1, &[Topic::new("a").unwrap()], &[(0, Some(1))]));
    let frozen = tree.clone();
    tree.apply(&commit(2, &[Topic::new("a").unwrap()], &[(0, None)]));
    std::thread::spawn(move || assert_eq!(frozen.len(), 1)).join().unwrap();
    assert_eq!(tree.len(), 0);
}

/// A tree in which much happens, most of it elsewhere than any reader looks.
fn busy(commits: u64) -> (Tree, Model) {
    let (mut tree, mut model) = (Tree::new(), Model::default());
    for number in 1..=commits {
        // 20 groups in turn, of 10 resources each but for one of 300.
        let (group, round) = (number % 20, number / 20);
        let resources = if group == 7 { 300 } else { 10 };
        let name = |nth: u64| Topic::new(&format!("fleet/g{group}/r{}/temp", nth % resources)).unwrap();
        let mut changes = vec![name(round)];
        if round % 3 == 0 {
            changes.push(name(round + 1));
        }
        let changes: Vec<_> = changes
            .iter()
            .map(|topic| if round % 7 == 5 { delete(topic, number) } else { put(topic, number, round as u8) })
            .collect();
        let commit = Commit { number, at: 0, publisher: None, changes: changes.into() };
        tree.apply(&commit);
        model.apply(&commit);
    }
    (tree, model)
}

#[test]
fn changes_are_found_by_name_where_that_costs_less() {
    let (tree, model) = busy(12_000);
    // Whether the scan gives changes of others says which way it went.
    let table = [
        ("fleet/g3/#", 0, false),
        ("fleet/g3/#", 6_000, false),
        ("fleet/g7/#", 0, false),
        ("fleet/+/r4/temp", 0, false),
        ("fleet/g3/r4/temp", 11_900, false),
        ("fleet/g3/#", 11_950, true),
        ("fleet/g3/#", 12_000, false),
        ("fleet/+/+/temp", 11_900, false),
        ("nothing/#", 0, false),
        ("+/g3/#", 11_900, false),
    ];
    for (filter, after, has_others) in table {
        let filter = Filter::new(filter).unwrap();
        let mut changes: Vec<_> = tree.changes_matching(&filter, after).collect();
        assert_eq!(
            changes.iter().any(|change| !filter.matches(change.topic())),
            has_others,
            "{filter} {after}"
        );
        changes.retain(|change| filter.matches(change.topic()));
        let mut expected = model.changed_after(after);
        expected.retain(|change| filter.matches(change.topic()));
        assert_eq!(changes, expected, "{filter} {after}");
    }
}
