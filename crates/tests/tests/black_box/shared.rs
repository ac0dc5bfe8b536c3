//! Shared subscriptions and `$SYS`, as mosquitto's clients see them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use dovetail_tests::http::Http;
use dovetail_tests::process::Process;
use dovetail_tests::server::{Server, Setup};
use dovetail_tests::tools::{PATIENCE, run};
use rustix::process::Signal;

/// Jobs of one round.
const JOBS: usize = 60;

fn mosquitto_sub(server: &Server, version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("mosquitto_sub");
    let port = server.address().port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-V", version]).args(arguments);
    command
}

/// A crew whose workers are all there. Each says the jobs that it does.
fn crew(server: &Server, http: &mut Http, version: &str) -> Vec<Process> {
    let names = ["a", "b", "c"];
    let start = |name| {
        let arguments = ["-i", name, "-q", "1", "-t", "$share/crew/jobs/+", "-F", "does %p"];
        Process::start(&mut mosquitto_sub(server, version, &arguments))
    };
    let workers = names.map(start).into();
    let all_are_there = format!("dovetail_mqtt_shared_subscriptions {}", names.len());
    let begin = Instant::now();
    while !http.get("/-/metrics").unwrap().text().contains(&all_are_there) {
        assert!(begin.elapsed() < PATIENCE, "not everybody joined");
    }
    workers
}

fn done(worker: &Process) -> Vec<String> {
    let output = worker.output();
    output.lines().filter_map(|line| line.strip_prefix("does ")).map(str::to_owned).collect()
}

/// Waits until all workers together have done so many jobs, each once.
fn wait_for_all(workers: &[Process], jobs: usize) {
    let start = Instant::now();
    let mut all;
    loop {
        all = workers.iter().flat_map(done).collect::<Vec<_>>();
        if all.len() >= jobs {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{} of {jobs} jobs are done", all.len());
        std::thread::yield_now();
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (jobs, jobs), "each once: {all:?}");
}

#[test]
fn workers_divide_jobs_and_take_over_what_one_leaves_undone() {
    for version in ["mqttv311", "mqttv5"] {
        let server = Setup::new().start();
        let mut http = Http::connect(server.address()).unwrap();
        let mut workers = crew(&server, &mut http, version);
        for job in 0..JOBS {
            http.put(&format!("/jobs/{job}"), &job.to_string()).unwrap();
        }
        wait_for_all(&workers, JOBS);
        let shares: Vec<_> = workers.iter().map(|worker| done(worker).len()).collect();
        assert!(shares.iter().all(|share| *share >= JOBS / 6), "everybody has a part: {shares:?}");

        // One hangs with what it has got, and dies.
        let mut hanging = workers.pop().unwrap();
        let before = done(&hanging).len();
        hanging.signal(Signal::STOP);
        for job in JOBS..2 * JOBS {
            http.put(&format!("/jobs/{job}"), &job.to_string()).unwrap();
        }
        hanging.kill();
        wait_for_all(&workers, 2 * JOBS - before);
    }
}

#[test]
fn a_crew_that_is_away_finds_its_work_on_return() {
    let server = Setup::new().start();
    let session = ["-c", "-x", "600", "-i", "a", "-q", "1", "-t", "$share/crew/jobs/+", "-W", "20"];
    run(&mut mosquitto_sub(&server, "mqttv5", &[&session[..], &["-E"]].concat()));
    let mut http = Http::connect(server.address()).unwrap();
    for job in ["one", "two", "three"] {
        http.put("/jobs/x", job).unwrap();
    }
    let heard = run(&mut mosquitto_sub(&server, "mqttv5", &[&session[..], &["-C", "3"]].concat()));
    assert_eq!(heard.trim(), "one\ntwo\nthree");
}

#[test]
fn the_server_says_how_it_is() {
    let server = Setup::new().variable("DOVETAIL__MQTT__SYS_INTERVAL", "1s").start();
    for version in ["mqttv311", "mqttv5"] {
        let arguments =
            ["-t", "$SYS/broker/version", "-t", "$SYS/broker/uptime", "-C", "3", "-W", "20", "-v"];
        let heard = run(&mut mosquitto_sub(&server, version, &arguments));
        let version = heard.lines().find(|line| line.starts_with("$SYS/broker/version ")).unwrap();
        assert!(version.contains("dovetail "), "{heard}");
        assert_eq!(
            heard.lines().filter(|line| line.starts_with("$SYS/broker/uptime ")).count(),
            2,
            "{heard}"
        );
    }
    let mut http = Http::connect(server.address()).unwrap();
    let metrics = http.get("/-/metrics").unwrap().text().clone();
    assert!(metrics.contains("dovetail_mqtt_publishes_sent_total 6"), "{metrics}");
}
