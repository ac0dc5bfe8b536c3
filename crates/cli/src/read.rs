//! `get` and `ls`.

use std::io::Write as _;

use crate::args::{Get, List};
use crate::connection::client;
use crate::failure::Failure;
use crate::show;

/// Prints the contents as they are, or as a JSON object.
pub(crate) async fn get(get: Get) -> Result<(), Failure> {
    let client = client(&get.connection)?;
    let found = client.get_at(&get.path, get.min_revision).await.map_err(Failure::of)?;
    let found = found.ok_or_else(|| Failure::NotFound(get.path.as_str().into()))?;
    let mut out = std::io::stdout().lock();
    if get.json {
        writeln!(out, "{}", show::resource_json(found.revision.epoch, &found.resource))?;
    } else {
        out.write_all(&found.resource.representation.payload)?;
    }
    Ok(out.flush()?)
}

/// Prints a line for each resource, page by page.
pub(crate) async fn list(list: List) -> Result<(), Failure> {
    let client = client(&list.connection)?;
    let mut page = client.first_page(&list.filter).await.map_err(Failure::of)?;
    loop {
        let mut out = anstream::stdout().lock();
        for resource in &page.items {
            if list.json {
                writeln!(out, "{}", show::resource_json(page.rev.epoch, resource))?;
            } else {
                writeln!(out, "{}", show::resource(resource))?;
            }
        }
        out.flush()?;
        drop(out);
        match page.next {
            Some(next) => page = client.page(&next).await.map_err(Failure::of)?,
            None => return Ok(()),
        }
    }
}
