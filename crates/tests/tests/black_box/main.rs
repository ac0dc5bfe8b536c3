//! The real program, looked at from outside: one test binary, a module a subject.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]

mod abuse;
mod churn;
mod clients;
mod compare;
mod cuts;
mod disk;
mod docs;
mod doors;
mod environment;
mod every_door;
mod forgery;
mod kill;
mod ladder;
mod many;
mod mqtt_clients;
mod mutants;
mod rust_client;
mod serve_path;
mod sessions;
mod shared;
mod signalr_clients;
mod start;
mod stop;
mod websocket_abuse;
mod websocket_door;
mod wills;
