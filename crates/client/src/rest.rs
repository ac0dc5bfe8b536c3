//! Reading and writing over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dovetail_api::batch::{self, Answer, Tags, Write};
use dovetail_api::document::{Changes, Collection};
use dovetail_api::problem::ProblemType;
use dovetail_api::{JSON, names, time};
use dovetail_model::{Filter, Representation, Resource, Revision, Topic};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;

use crate::error::Error;
use crate::http::Http;
use crate::server::{AddressError, Credentials, Server};
use crate::traffic::Traffic;

/// How long the head of an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Resources of one page of a collection.
const PAGE: usize = 1_000;

const REVISION: HeaderName = HeaderName::from_static("dovetail-revision");
const MIN_REVISION: HeaderName = HeaderName::from_static("dovetail-min-revision");
const TTL: HeaderName = HeaderName::from_static("dovetail-ttl");
const EXPIRES: HeaderName = HeaderName::from_static("dovetail-expires");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A whole answer: its status, fields and body.
type Answered = (StatusCode, HeaderMap, Bytes);

/// A server to read from and write to. Cloning is cheap, and clones share their connections.
///
/// Every function is safe to cancel; a write that was cancelled may or may not have happened.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) http: Arc<Http>,
    pub(crate) credentials: Option<Credentials>,
}

/// A resource that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The resource. `modified_at` is exact to the second.
    pub resource: Resource,
    /// The revision of its last change: the value for [`Options::if_match`].
    pub revision: Revision,
    /// The head of the journal that it was read at: a position to watch from.
    pub head: Revision,
}

/// What is under a name.
enum Looked {
    Found(Box<Found>),
    Nothing { head: Revision },
}

/// How a write is made. The default is: whatever is there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// The write happens only if the resource's last change has one of these revisions.
    pub if_match: Option<Tags>,
    /// The write happens only if it has none of these; with [`Tags::Any`], only if there is no resource.
    pub if_none_match: Option<Tags>,
    /// A name for this write: repeated with the same key it happens at most once.
    pub idempotency_key: Option<Box<str>>,
    /// How long the resource lives after this write.
    pub time_to_live: Option<Duration>,
}

/// What a write did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The revision of the commit: from here on every read and feed shows it.
    pub revision: Revision,
    /// Whether the name had no representation before.
    pub is_new: bool,
}

/// The kinds of patches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatchKind {
    /// JSON merge patch (RFC 7396).
    Merge,
    /// JSON patch (RFC 6902).
    Json,
}

impl PatchKind {
    /// The media type of such a patch.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }
}

impl Options {
    /// Only if the resource was last changed at `revision`.
    #[must_use]
    pub fn if_match(mut self, revision: Revision) -> Self {
        self.if_match = Some(Tags::List(vec![revision]));
        self
    }

    /// Only if there is no such resource.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.if_none_match = Some(Tags::Any);
        self
    }

    /// At most once under this key, however often it is repeated.
    #[must_use]
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Deleted by the server after `time_to_live`, which counts in whole seconds.
    #[must_use]
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    fn write(&self, fields: &mut HeaderMap) -> Result<(), Error> {
        if let Some(tags) = &self.if_match {
            fields.insert(header::IF_MATCH, tags_value(tags));
        }
        if let Some(tags) = &self.if_none_match {
            fields.insert(header::IF_NONE_MATCH, tags_value(tags));
        }
        if let Some(key) = &self.idempotency_key {
            let key = HeaderValue::from_str(key).map_err(|_| Error::Unsendable("idempotency key"))?;
            fields.insert(IDEMPOTENCY_KEY, key);
        }
        if let Some(life) = self.time_to_live {
            fields.insert(TTL, life.as_secs().into());
        }
        Ok(())
    }
}

impl Client {
    /// A client of the server at this URL, such as `http://127.0.0.1:8080`. No connection is made yet.
    ///
    /// # Errors
    /// If the URL is none that this client can use.
    pub fn new(url: &str) -> Result<Self, AddressError> {
        Ok(Self { http: Arc::new(Http::new(Server::parse(url)?)), credentials: None })
    }

    /// The same client with credentials.
    ///
    /// # Errors
    /// If they have characters that no header field can carry.
    pub fn with_credentials(self, credentials: Credentials) -> Result<Self, Error> {
        let http = Arc::new(self.http.with_credentials(&credentials)?);
        Ok(Self { http, credentials: Some(credentials) })
    }

    /// Where the server is.
    pub fn server(&self) -> &Server {
        &self.http.server
    }

    /// The bytes that this client and its watches sent and received.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.http.traffic)
    }

    /// The resource, or `None` if there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, topic: &Topic) -> Result<Option<Found>, Error> {
        self.get_at(topic, None).await
    }

    /// The resource, read at `least` or later: with the revision of a write, that write is seen.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_at(&self, topic: &Topic, least: Option<Revision>) -> Result<Option<Found>, Error> {
        match self.look(topic, least).await? {
            Looked::Found(found) => Ok(Some(*found)),
            Looked::Nothing { .. } => Ok(None),
        }
    }

    /// Everything that matches `filter`, exact at one revision, however many pages it takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, filter: &Filter) -> Result<Collection, Error> {
        let mut whole = self.first_page(filter).await?;
        while let Some(next) = whole.next.take() {
            let page = self.page(&next).await?;
            if page.rev != whole.rev {
                return Err(Error::BadField("rev"));
            }
            whole.items.extend(page.items);
            whole.next = page.next;
        }
        Ok(whole)
    }

    /// The first page of a collection; the whole of it if it is small.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn first_page(&self, filter: &Filter) -> Result<Collection, Error> {
        match filter.as_topic() {
            Some(topic) => self.page_of_one(filter, &topic).await,
            None => self.page(&format!("{}?limit={PAGE}", filter_path(filter)?)).await,
        }
    }

    /// The page that [`Collection::next`] refers to, read at the same revision.
    ///
    /// # Errors
    /// See [`Error`]; if the server no longer has the revision, a problem of type `position-gone`.
    pub async fn page(&self, reference: &str) -> Result<Collection, Error> {
        // A reference that would be read as a host comes with a dot segment, which clients resolve away.
        let target = reference.strip_prefix("/.").filter(|rest| rest.starts_with("//")).unwrap_or(reference);
        let request = request(Method::GET, target, Bytes::new())?;
        let exchange = self.http.send(request, PATIENCE).await?.succeeded().await?;
        Ok(Collection::decode(&exchange.whole().await?.2)?)
    }

    /// What changed under `filter` after `since`: each resource once in its newest state, or with `every` each
    /// journal entry. With `wait`, the answer waits until there is something, but not longer.
    ///
    /// # Errors
    /// See [`Error`]; if the position cannot be resumed, a problem of type `position-gone`.
    pub async fn changes(
        &self,
        filter: &Filter,
        since: Revision,
        every: bool,
        wait: Option<Duration>,
    ) -> Result<Changes, Error> {
        let mut target = format!("{}?since={since}", filter_path(filter)?);
        if every {
            target.push_str("&every");
        }
        let waits = wait.unwrap_or_default();
        if wait.is_some() {
            target.push_str("&wait=");
            target.push_str(&waits.as_secs().to_string());
        }
        let request = request(Method::GET, &target, Bytes::new())?;
        let exchange = self.http.send(request, PATIENCE + waits).await?.succeeded().await?;
        Ok(Changes::decode(&exchange.whole().await?.2)?)
    }

    /// Makes the resource what `representation` says.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put(
        &self,
        topic: &Topic,
        representation: Representation,
        options: &Options,
    ) -> Result<Written, Error> {
        let request = carrying(Method::PUT, &path(topic)?, representation)?;
        written(&self.write(request, options).await?)
    }

    /// Changes the resource by a patch document.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch(
        &self,
        topic: &Topic,
        kind: PatchKind,
        patch: Bytes,
        options: &Options,
    ) -> Result<Written, Error> {
        let content_type = Some(kind.media_type().into());
        let patch = Representation { payload: patch, content_type, ..Representation::default() };
        let request = carrying(Method::PATCH, &path(topic)?, patch)?;
        written(&self.write(request, options).await?)
    }

    /// Deletes the resource; `None` if there was none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, topic: &Topic, options: &Options) -> Result<Option<Revision>, Error> {
        let request = request(Method::DELETE, &path(topic)?, Bytes::new())?;
        match self.write(request, options).await {
            Ok((_, fields, _)) => Ok(Some(revision_of_head(&fields)?)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a resource with a name of the server's choice below `parent`, or at the root.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create(
        &self,
        parent: Option<&Topic>,
        representation: Representation,
        options: &Options,
    ) -> Result<(Topic, Written), Error> {
        let target = parent.map_or(Ok("/".to_owned()), path)?;
        let answered = self.write(carrying(Method::POST, &target, representation)?, options).await?;
        let location = answered.1.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let path =
            location.map(|text| text.strip_prefix("/.").filter(|r| r.starts_with("//")).unwrap_or(text));
        match path.map(names::parse) {
            Some(Ok(names::Name::Topic(topic))) => Ok((topic, written(&answered)?)),
            _ => Err(Error::BadField("location")),
        }
    }

    /// Publishes an event: delivered to whoever watches, and not stored.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn publish(&self, topic: &Topic, representation: Representation) -> Result<(), Error> {
        let target = format!("/-/publish{}", path(topic)?);
        self.write(carrying(Method::POST, &target, representation)?, &Options::default()).await.map(drop)
    }

    /// Makes all of `writes` as one commit, or none of them.
    ///
    /// # Errors
    /// See [`Error`]; [`crate::Problem::index`] says which write was refused.
    pub async fn batch(&self, writes: &[Write], idempotency_key: Option<&str>) -> Result<Answer, Error> {
        let mut document = Vec::new();
        batch::encode(&mut document, writes);
        let document = Representation {
            payload: document.into(),
            content_type: Some(JSON.into()),
            ..Representation::default()
        };
        let options = Options { idempotency_key: idempotency_key.map(Into::into), ..Options::default() };
        let (_, _, body) = self.write(carrying(Method::POST, "/-/batch", document)?, &options).await?;
        Ok(Answer::decode(&body)?)
    }

    /// The collection of one name: its URL gives the representation and not a collection.
    async fn page_of_one(&self, filter: &Filter, topic: &Topic) -> Result<Collection, Error> {
        let (rev, items) = match self.look(topic, None).await? {
            Looked::Found(found) => (found.head, vec![Arc::new(found.resource)]),
            Looked::Nothing { head } => (head, Vec::new()),
        };
        Ok(Collection { filter: filter.as_str().into(), rev, items, next: None })
    }

    async fn look(&self, topic: &Topic, least: Option<Revision>) -> Result<Looked, Error> {
        let mut request = request(Method::GET, &path(topic)?, Bytes::new())?;
        if let Some(least) = least {
            request.headers_mut().insert(MIN_REVISION, text_value(&least.to_string()));
        }
        let exchange = self.http.send(request, PATIENCE).await?;
        let head = revision_of_head(&exchange.headers);
        match exchange.succeeded().await {
            // The name has no representation, and the server shows what is below it.
            Ok(exchange) if exchange.headers.contains_key(header::CONTENT_LOCATION) => {
                exchange.whole().await?;
                Ok(Looked::Nothing { head: head? })
            }
            Ok(exchange) => {
                let (_, fields, body) = exchange.whole().await?;
                found(topic, head?, &fields, body).map(|found| Looked::Found(Box::new(found)))
            }
            Err(error) if is_not_found(&error) => {
                let said = error.problem().and_then(|problem| problem.rev);
                Ok(Looked::Nothing { head: said.map_or(head, Ok)? })
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&self, mut request: Request<Full<Bytes>>, options: &Options) -> Result<Answered, Error> {
        options.write(request.headers_mut())?;
        self.http.send(request, PATIENCE).await?.succeeded().await?.whole().await
    }
}

/// The path of a topic in a request.
pub(crate) fn path(topic: &Topic) -> Result<String, Error> {
    names::path_of(topic).ok_or_else(|| Error::NoPath(topic.as_str().into()))
}

/// The path of a filter in a request.
pub(crate) fn filter_path(filter: &Filter) -> Result<String, Error> {
    names::path_of_filter(filter).ok_or_else(|| Error::NoPath(filter.as_str().into()))
}

pub(crate) fn request(method: Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
    let request = Request::builder().method(method).uri(target).body(Full::new(body));
    request.map_err(|_| Error::Unsendable("path"))
}

fn carrying(
    method: Method,
    target: &str,
    representation: Representation,
) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = request(method, target, representation.payload)?;
    if let Some(content_type) = &representation.content_type {
        let value = HeaderValue::from_str(content_type).map_err(|_| Error::Unsendable("content type"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Ok(request)
}

fn written((status, fields, _): &Answered) -> Result<Written, Error> {
    Ok(Written { revision: revision_of_head(fields)?, is_new: *status == StatusCode::CREATED })
}

pub(crate) fn revision_of_head(fields: &HeaderMap) -> Result<Revision, Error> {
    revision(fields, &REVISION).ok_or(Error::BadField("dovetail-revision"))
}

fn revision(fields: &HeaderMap, name: &HeaderName) -> Option<Revision> {
    fields.get(name)?.to_str().ok()?.trim_matches('"').parse().ok()
}

fn is_not_found(error: &Error) -> bool {
    error.problem().is_some_and(|problem| problem.kind == ProblemType::NotFound)
}

fn found(topic: &Topic, head: Revision, fields: &HeaderMap, body: Bytes) -> Result<Found, Error> {
    let revision = revision(fields, &header::ETAG).ok_or(Error::BadField("etag"))?;
    let field = |name: &HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
    let modified = field(&header::LAST_MODIFIED).and_then(|text| httpdate::parse_http_date(text).ok());
    let since_epoch = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let resource = Resource {
        topic: topic.clone(),
        revision: revision.number,
        modified_at: since_epoch.unwrap_or_default().as_millis() as u64,
        expires_at: field(&EXPIRES).and_then(time::parse),
        representation: Representation {
            payload: body,
            content_type: field(&header::CONTENT_TYPE).map(Into::into),
            ..Representation::default()
        },
    };
    Ok(Found { resource, revision, head })
}

fn tags_value(tags: &Tags) -> HeaderValue {
    match tags {
        Tags::Any => HeaderValue::from_static("*"),
        Tags::List(revisions) => {
            let quoted: Vec<String> = revisions.iter().map(|revision| format!("\"{revision}\"")).collect();
            text_value(&quoted.join(", "))
        }
    }
}

/// The value of a text that is visible ASCII by its making.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
