//! One measurement: a server, a writer, and watchers of one way, or none to see what writing costs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::copies::{Kind, Ledger};
use super::course::Course;
use super::schedule::{Schedule, Shape};
use super::target::{Target, Targets, cpu_us};
use super::watcher::{Account, Watcher};
use super::ways::Way;
use super::writer::Writer;
use crate::cpu::Sample;
use crate::load::PATIENCE;

/// How many watchers come at the same time. Few, so that memory which only coming takes is not counted for each of them.
const DOORWAY: usize = 4;

/// How long the coming of one watcher may take.
const COMING: Duration = Duration::from_millis(20);

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    /// Bytes of a payload.
    pub(super) payload: usize,
}

/// What was seen.
pub(super) struct Measured {
    pub(super) course: Rc<Course>,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
    /// When the last update had arrived, or nobody waited for it any more.
    pub(super) end_ns: u64,
    pub(super) cpu_us: Option<f64>,
    /// Growth of the server's memory by its watchers.
    pub(super) growth: Option<f64>,
    /// CPU of this thread, as a share of the time.
    pub(super) generator_share: f64,
    /// Of the watchers that were not interrupted.
    pub(super) steady: Counted,
    /// Bytes from the return until current again, of each watcher that returned.
    pub(super) return_bytes: Vec<(Kind, u64)>,
}

/// What went through sockets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) watchers: usize,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) requests: u64,
}

/// Watchers and the writer. Dropped, all of them end.
struct Cast {
    course: Rc<Course>,
    tasks: JoinSet<Result<()>>,
    accounts: Vec<Rc<Account>>,
}

/// Measures a way, or writing alone.
///
/// # Errors
/// The server cannot be reached, a connection ends that nobody cut, or an update is lost that no interruption explains.
pub(super) async fn measure(targets: &Targets, plan: &Plan, way: Option<Way>) -> Result<Measured> {
    let target = targets.next()?;
    let mut schedule = Schedule::new(&plan.shape);
    if way.is_none() {
        schedule.cuts.clear();
    }
    let ledger = Ledger::new(plan.shape.resources, &schedule, way.is_some_and(Way::always_falls_back));
    let course = Course::new(target.spot.clone(), target.collection.clone(), plan.payload, ledger);
    let mut writer = Writer::connect(&target.spot, course.client_id("writer"), &course.run).await?;
    targets.makes(&course, way);
    writer.make(&course, plan.shape.resources).await?;

    if let Some(way) = way {
        warm_up(&target, plan, way).await?;
    }
    let before = target.resident().await?;
    let mut cast = Cast::new(&course);
    if let Some(way) = way {
        cast.enter(way, &schedule).await?;
    }
    let settled = target.resident().await?;
    let growth = before.zip(settled).map(|(before, settled)| settled - before);
    let mut measured = cast.run(&target, writer, schedule, plan.shape.measured, way).await?;
    measured.growth = growth;
    Ok(measured)
}

/// Lets a few watchers come and go, so that what the server sets up once is not counted as the memory of watchers.
async fn warm_up(target: &Target, plan: &Plan, way: Way) -> Result<()> {
    let schedule = Schedule { updates: Vec::new(), cuts: vec![None; DOORWAY] };
    let ledger = Ledger::new(plan.shape.resources, &schedule, false);
    let course = Course::new(target.spot.clone(), target.collection.clone(), plan.payload, ledger);
    let mut cast = Cast::new(&course);
    cast.enter(way, &schedule).await?;
    cast.tasks.shutdown().await;
    Ok(())
}

impl Cast {
    fn new(course: &Rc<Course>) -> Self {
        Self { course: Rc::clone(course), tasks: JoinSet::new(), accounts: Vec::new() }
    }

    /// Lets the watchers come, and waits until each has the state.
    async fn enter(&mut self, way: Way, schedule: &Schedule) -> Result<()> {
        let doorway = Rc::new(Semaphore::new(DOORWAY));
        for (number, cut) in schedule.cuts.iter().enumerate() {
            let watcher = Watcher::new(&self.course, number);
            self.accounts.push(Rc::clone(&watcher.account));
            self.tasks.spawn_local(watcher.follow(way, *cut, Rc::clone(&doorway)));
        }
        let course = Rc::clone(&self.course);
        let all_have_it = move || course.ledger.borrow().without_baseline() == 0;
        let patience = PATIENCE + COMING * schedule.cuts.len() as u32;
        let entered = self.until(Instant::now() + patience, all_have_it).await?;
        let without = self.course.ledger.borrow().without_baseline();
        ensure!(entered, "{without} watchers did not get the state");
        Ok(())
    }

    /// Writes and watches for the time that is measured, and until what was written has come.
    async fn run(
        &mut self,
        target: &Target,
        writer: Writer,
        schedule: Schedule,
        measured: Duration,
        way: Option<Way>,
    ) -> Result<Measured> {
        let course = Rc::clone(&self.course);
        let written = Rc::clone(&course);
        self.tasks.spawn_local(async move { writer.write(&written, &schedule.updates).await });
        let (spent, own) = (target.spent().await?, Sample::of_this_thread()?);
        let (counted, began) = (self.count_steady(), course.begin());
        self.until(began + measured, || false).await?;
        let (spent_then, own_then) = (target.spent().await?, Sample::of_this_thread()?);
        let (counted_then, seconds) = (self.count_steady(), began.elapsed().as_secs_f64());
        course.end();

        let patience = PATIENCE / 2 + way.and_then(Way::every).unwrap_or_default() * 2;
        let all_came = || course.ledger.borrow().awaited() == 0;
        // Whoever still lacks something after that is found below.
        self.until(Instant::now() + patience, all_came).await?;
        let end_ns = course.now_ns();
        self.check(way)?;
        let kind = |watcher: usize| course.ledger.borrow().kind(watcher);
        let returned = self.accounts.iter().enumerate();
        let returned = returned.filter_map(|(n, account)| Some((kind(n), account.bytes_to_return()?)));
        Ok(Measured {
            return_bytes: returned.collect(),
            course: Rc::clone(&course),
            seconds,
            end_ns,
            cpu_us: cpu_us(spent, spent_then),
            growth: None,
            generator_share: own.until(&own_then) as f64 / 1e9 / seconds,
            steady: counted_then.since(&counted),
        })
    }

    /// Waits until it is so, or until `deadline`. Says whether it is so.
    ///
    /// # Errors
    /// A watcher or the writer failed.
    async fn until(&mut self, deadline: Instant, is_so: impl Fn() -> bool) -> Result<bool> {
        /// How often it is looked at, beside what tasks do.
        const LOOK: Duration = Duration::from_millis(2);
        loop {
            if is_so() {
                return Ok(true);
            }
            let next = deadline.min(Instant::now() + LOOK);
            tokio::select! {
                Some(ended) = self.tasks.join_next() => ended??,
                () = sleep_until(next.into()) => if next == deadline { return Ok(is_so()) },
            }
        }
    }

    /// # Errors
    /// An update is missing that no interruption explains.
    fn check(&self, way: Option<Way>) -> Result<()> {
        let ledger = self.course.ledger.borrow();
        if let (Some(way), Some((watcher, count))) = (way, ledger.unexplained()) {
            let kind = match ledger.kind(watcher) {
                Kind::Steady => "which was never cut off",
                Kind::WithFallback => "which came back with its fallback, other than those of its outage",
                Kind::WithoutFallback => "which came back, written when it watched again",
            };
            bail!("{count} updates never reached watcher {watcher} of {}, {kind}", way.name());
        }
        Ok(())
    }

    fn count_steady(&self) -> Counted {
        let ledger = self.course.ledger.borrow();
        let steady = self.accounts.iter().enumerate().filter(|(n, _)| ledger.kind(*n) == Kind::Steady);
        steady.fold(Counted::default(), |counted, (_, account)| Counted {
            watchers: counted.watchers + 1,
            sent: counted.sent + account.traffic.sent.get(),
            received: counted.received + account.traffic.received.get(),
            requests: counted.requests + account.requests.get(),
        })
    }
}

impl Counted {
    fn since(self, before: &Self) -> Self {
        Self {
            watchers: self.watchers,
            sent: self.sent - before.sent,
            received: self.received - before.received,
            requests: self.requests - before.requests,
        }
    }
}
