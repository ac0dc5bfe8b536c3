//! A disk that fails: after the first write or sync that did not work, nothing is acknowledged any more, and a restart has
//! all that was.

use std::process::Command;

use dovetail_tests::http::Http;
use dovetail_tests::load::{self, MIXED, Writer};
use dovetail_tests::random::Random;
use dovetail_tests::record::{self, Record};
use dovetail_tests::server::Setup;
use dovetail_tests::{tools, watch};

use crate::environment::Length;

/// The calls that make a write durable, and what they are told to fail with.
const FAULTS: [(&str, &str); 4] =
    [("fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("fdatasync", "ENOSPC")];

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_a_restart_has_the_rest() {
    if !may_trace() {
        return;
    }
    let mut random = Random::from_environment();
    let mut cases = Length::of("DOVETAIL_DISK_ERRORS", 4);
    for case in cases.by_ref() {
        let (call, error) = FAULTS[case as usize % FAULTS.len()];
        // Late enough for the server to be up, early enough for the load to get there.
        let when = 20 + random.below(200);
        let place = tempfile::tempdir().unwrap();
        fail(place.path(), call, error, when, &mut random);
    }
    cases.report("failing calls");
}

fn fail(place: &std::path::Path, call: &str, error: &str, when: u64, random: &mut Random) {
    // From the chosen call on, every one fails: a disk that is gone.
    let inject = format!("inject={call}:error={error}:when={when}+");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
    let mut server = Setup::on(place).under(strace).start();
    for expected in ["journal", "read-only", "fail", error] {
        server.expect_in_log(expected);
    }
    let address = server.address();
    let records = tempfile::tempdir().unwrap();
    let [early_path, late_path] = ["early", "late"].map(|name| records.path().join(name));
    load::record_mixed_load(address, &early_path, "", random.bits()).unwrap();
    // What was not answered stays open; whatever comes after it must not be acknowledged either.
    let record = Record::create(&late_path).unwrap();
    let mut late = Writer::new("late", MIXED[0], random.fork(), &record);
    let _ = late.run(address);
    assert_eq!(late.acknowledged(), 0, "acknowledged after {call} failed with {error}");
    let read = Http::connect(address).unwrap().get("/%23").unwrap();
    assert_eq!(read.status, 200, "what is there can still be read: {}", read.text());
    drop(server);
    let server = Setup::on(place).start();
    let log = watch::extend(server.address(), None).unwrap();
    let histories = [early_path, late_path].map(|path| record::read(&path).unwrap()).concat();
    let tally = load::verify(&log, 0, histories.iter().map(Vec::as_slice)).unwrap();
    assert!(tally.done > 0, "failed before anything was written: {call} {when}");
}

/// Whether strace may trace here; says why not.
fn may_trace() -> bool {
    let mut probe =
        dovetail_tests::process::Process::start(Command::new("strace").args(["-o", "/dev/null", "true"]));
    let may = probe.wait(tools::PATIENCE).is_some_and(|status| status.success());
    if !may {
        #[expect(clippy::print_stderr, reason = "the runner shows it")]
        {
            eprintln!("left out: this machine does not permit tracing: {}", probe.complete_output());
        }
    }
    may
}
