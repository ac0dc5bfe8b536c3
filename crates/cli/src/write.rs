//! `put`, `patch`, `delete` and `publish`. What is printed is the revision of the write.

use std::io::Write as _;

use dovetail_client::{Options, PatchKind, Tags};
use dovetail_model::Revision;

use crate::args::{Conditions, Delete, Patch, Publish, Put};
use crate::connection::client;
use crate::failure::Failure;
use crate::input::{contents, representation};

pub(crate) async fn put(put: Put) -> Result<(), Failure> {
    let client = client(&put.connection)?;
    let payload = contents(put.value)?;
    if payload.is_empty() {
        return Err(Failure::Usage("a resource is never empty; `dovetail delete` deletes one"));
    }
    let representation = representation(payload, put.content_type);
    let options = Options { time_to_live: put.ttl, ..options(put.conditions) };
    let written = client.put(&put.path, representation, &options).await.map_err(Failure::of)?;
    print(written.revision)
}

pub(crate) async fn patch(patch: Patch) -> Result<(), Failure> {
    let client = client(&patch.connection)?;
    let kind = if patch.json_patch { PatchKind::Json } else { PatchKind::Merge };
    let document = contents(patch.patch)?;
    let options = options(patch.conditions);
    let written = client.patch(&patch.path, kind, document, &options).await.map_err(Failure::of)?;
    print(written.revision)
}

pub(crate) async fn delete(delete: Delete) -> Result<(), Failure> {
    let client = client(&delete.connection)?;
    let if_match = delete.if_match.map(|revision| Tags::List(vec![revision]));
    let options = Options { if_match, ..Options::default() };
    match client.delete(&delete.path, &options).await.map_err(Failure::of)? {
        Some(revision) => print(revision),
        None => Err(Failure::NotFound(delete.path.as_str().into())),
    }
}

pub(crate) async fn publish(publish: Publish) -> Result<(), Failure> {
    let client = client(&publish.connection)?;
    let representation = representation(contents(publish.value)?, publish.content_type);
    client.publish(&publish.path, representation).await.map_err(Failure::of)
}

fn options(conditions: Conditions) -> Options {
    Options {
        if_match: conditions.if_match.map(|revision| Tags::List(vec![revision])),
        if_none_match: conditions.if_absent.then_some(Tags::Any),
        idempotency_key: conditions.idempotency_key.map(Into::into),
        time_to_live: None,
    }
}

fn print(revision: Revision) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{revision}")?)
}
