//! A feed as repeated requests that wait on the server for news.

use std::collections::VecDeque;

use dovetail_api::decode::Frame;
use dovetail_api::document::Collection;
use dovetail_model::{Filter, Revision};

use super::transport::Transport;
use super::{Start, WatchOptions};
use crate::Client;
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Poll {
    client: Client,
    filter: Filter,
    options: WatchOptions,
    /// What was read and not told yet.
    ahead: VecDeque<Frame>,
    /// Where what is in `ahead` leads.
    stage: Stage,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Closed,
    /// The baseline of `rev` goes on with this page.
    Page {
        next: Box<str>,
        rev: Revision,
    },
    /// The next request asks for what came after this.
    After(Revision),
}

impl Poll {
    pub(crate) fn new(client: Client, filter: Filter, options: WatchOptions) -> Self {
        Self { client, filter, options, ahead: VecDeque::new(), stage: Stage::Closed }
    }

    fn take_page(&mut self, page: Collection) {
        let epoch = page.rev.epoch;
        self.ahead.extend(page.items.into_iter().map(|resource| Frame::Item { epoch, resource }));
        self.stage = if let Some(next) = page.next {
            Stage::Page { next, rev: page.rev }
        } else {
            self.ahead.push_back(Frame::BaselineEnd { rev: page.rev });
            Stage::After(page.rev)
        };
    }

    async fn read_ahead(&mut self) -> Result<(), Error> {
        match self.stage.clone() {
            Stage::Closed => {
                Err(Error::Lost { address: self.client.server().to_string().into(), source: None })
            }
            Stage::Page { next, rev } => {
                let page = self.client.page(&next).await?;
                if page.rev != rev {
                    return Err(Error::Broken("a page of another revision"));
                }
                self.take_page(page);
                Ok(())
            }
            Stage::After(position) => {
                let WatchOptions { every, wait, .. } = self.options;
                let news = self.client.changes(&self.filter, position, every, Some(wait)).await?;
                let (after, rev) = (news.after, news.rev);
                self.ahead.push_back(if news.changes.is_empty() {
                    Frame::Progress { after, rev }
                } else {
                    Frame::Change { after, rev, changes: news.changes }
                });
                self.stage = Stage::After(rev);
                Ok(())
            }
        }
    }
}

impl Transport for Poll {
    async fn open(&mut self, start: Start) -> Result<(), Error> {
        self.close();
        match start {
            Start::After(position) => self.stage = Stage::After(position),
            Start::Baseline => {
                let page = self.client.first_page(&self.filter).await?;
                self.ahead.push_back(Frame::BaselineBegin { rev: page.rev });
                self.take_page(page);
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.ahead.pop_front() {
                return Ok(frame);
            }
            self.read_ahead().await?;
        }
    }

    fn close(&mut self) {
        self.ahead.clear();
        self.stage = Stage::Closed;
    }
}
