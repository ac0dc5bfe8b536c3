//! What the program refuses to start with.

use std::process::Command;
use std::time::Duration;

use dovetail_tests::http::Http;
use dovetail_tests::process::Process;
use dovetail_tests::server::{Setup, program};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let first = Setup::new().start();
    let second = Setup::on(first.data()).try_start().unwrap_err();
    assert_eq!(second.status.code(), Some(1), "{second}");
    assert!(
        second.log.contains(&first.data().display().to_string()),
        "does not name the directory: {second}"
    );
    let mut http = Http::connect(first.address()).unwrap();
    assert_eq!(http.put("/still/here", "yes").unwrap().status, 201);
}

#[test]
fn data_is_there_again_after_a_restart_with_the_same_epoch() {
    let place = tempfile::tempdir().unwrap();
    let tag = {
        let server = Setup::on(place.path()).start();
        let answer = Http::connect(server.address()).unwrap().put("/a/b", "one").unwrap();
        answer.header("etag").unwrap().to_owned()
    };
    let server = Setup::on(place.path()).start();
    let answer = Http::connect(server.address()).unwrap().get("/a/b").unwrap();
    assert_eq!((answer.text().as_str(), answer.header("etag")), ("one", Some(tag.as_str())));
}

#[test]
fn an_open_address_is_refused_until_somebody_says_that_it_is_meant() {
    let place = tempfile::tempdir().unwrap();
    let mut server = Process::start(
        Command::new(program())
            .args(["serve", "--listen", "0.0.0.0:0", "--data"])
            .arg(place.path().join("data")),
    );
    let status = server.wait(PATIENCE).expect("it refuses and ends");
    assert_eq!(status.code(), Some(2), "{}", server.complete_output());
    assert!(server.complete_output().contains("0.0.0.0"), "{}", server.complete_output());
}

#[test]
fn a_setting_that_does_not_exist_is_refused() {
    let refused = Setup::new().variable("DOVETAIL__NO_SUCH__SETTING", "1").try_start().unwrap_err();
    assert_eq!(refused.status.code(), Some(2), "{refused}");
    assert!(refused.log.to_lowercase().contains("no_such"), "{refused}");
}
